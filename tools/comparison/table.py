"""The table of detectors: detectors.toml, and files like it."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic.dataclasses import dataclass

SHIPPED_TABLE = Path(__file__).with_name("detectors.toml")
_NAME = re.compile(r"[A-Za-z0-9][-\w.]*", re.ASCII)
_STRICT_KEYS = ConfigDict(extra="forbid")

T = TypeVar("T")


class TableError(ValueError):
    """A damaged table; the message names file and key."""

    def __init__(self, source: Path, key: str, problem: str) -> None:
        super().__init__(f"{source}, {key}: {problem}")


def _check_name(name: str) -> str:
    if not _NAME.fullmatch(name):  # it becomes a folder's
        raise ValueError("a name has letters, digits, '-', '_' and '.' only")
    return name


def _existing_path(name: Any, info: ValidationInfo) -> Any:
    """Resolve a path of a table, relative to the table's folder in the context."""
    if not isinstance(name, str) or info.context is None:
        return name
    path = Path(os.path.abspath(info.context["folder"] / name))
    if not path.exists():
        raise ValueError(f"{path} is not there")
    return path


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    return path


def _known_environment(name: Any, info: ValidationInfo) -> Any:
    """Replace the name of an environment by the environment of this name in the context."""
    if info.context is None:
        return name
    if name not in info.context["environments"]:
        raise ValueError(f"no [environments.{name}]")
    return info.context["environments"][name]


ExistingPath = Annotated[Path, BeforeValidator(_existing_path)]


@dataclass(frozen=True, config=_STRICT_KEYS)
class Environment:
    """The packages that are installed for a detector.

    Attributes:
        name: of its folder.
        requirements: of pip, dependencies included.
        share_packages: the packages of the running Python can be imported too.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    requirements: Annotated[tuple[str, ...], Field(min_length=1)]
    share_packages: StrictBool = False


@dataclass(frozen=True, config=_STRICT_KEYS)
class Detector:
    """A detector with its settings; detectors.toml explains the fields.

    Attributes:
        environment: None: the running Python.
        scale: None: that of the options, or 1; see ``image_scale``.
    """

    name: Annotated[str, AfterValidator(_check_name)]
    title: str
    settings: str
    worker: Annotated[ExistingPath, AfterValidator(_existing_file)]
    environment: Annotated[Environment | None, BeforeValidator(_known_environment)] = None
    options: Mapping[str, Any] = Field(default_factory=dict)
    latency_options: Mapping[str, Any] = Field(default_factory=dict)
    files: tuple[ExistingPath, ...] = ()
    optional: StrictBool = False
    scale: Annotated[float, Field(gt=0, strict=True)] | None = None

    @property
    def image_scale(self) -> float:
        """The factor by which the sides of the images are multiplied."""
        scale = self.options.get("scale") if self.scale is None else self.scale
        return float(scale) if isinstance(scale, int | float) else 1.0


class Table(BaseModel):
    """The entries of a file by section and name, before their own validation."""

    model_config = _STRICT_KEYS

    environments: dict[str, dict[str, Any]] = Field(default_factory=dict)
    detectors: dict[str, dict[str, Any]] = Field(default_factory=dict)


def load_tables(*paths: str | os.PathLike) -> dict[str, Detector]:
    """Map the names of detectors in several tables to the detectors.

    Environments of earlier tables may be used in later ones.

    Raises:
        FileNotFoundError: a table is not there.
        TableError: a table is no TOML, an entry is damaged or there twice, or a file that it names
            is missing.
    """
    environments: dict[str, Environment] = {}
    detectors: dict[str, Detector] = {}
    for path in map(Path, paths):
        context = {"folder": path.parent, "environments": environments}
        table = _read(path)
        for name, entry in table.environments.items():
            key = f"environments.{name}"
            _require_new(name, environments, path, key)
            environments[name] = _validate(Environment, {"name": name} | entry, path, key, context)
        for name, entry in table.detectors.items():
            key = f"detectors.{name}"
            _require_new(name, detectors, path, key)
            entry = {"name": name} | _with_base(entry, table.detectors, path, key)
            detectors[name] = _validate(Detector, entry, path, key, context)
    return detectors


def choose(detectors: Mapping[str, Detector], names: list[str] | None) -> list[Detector]:
    """The detectors of these names, or all that are not optional.

    Raises:
        ValueError: an unknown name, or one that is given twice.
    """
    if names is None:
        return [detector for detector in detectors.values() if not detector.optional]
    unknown = [name for name in names if name not in detectors]
    if unknown:
        raise ValueError(f"No detector {unknown[0]!r}; there are {', '.join(detectors)}")
    if len(set(names)) < len(names):
        raise ValueError(f"A detector is named twice: {' '.join(names)}")
    return [detectors[name] for name in names]


def _read(path: Path) -> Table:
    if not path.is_file():
        raise FileNotFoundError(f"No table of detectors: {path}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or no TOML: the message has the line
        raise TableError(path, "whole file", f"no TOML: {error}") from error
    return _validate(Table, content, path)


def _validate(
    kind: type[T],
    content: Mapping[str, Any],
    path: Path,
    key: str = "",
    context: Mapping[str, Any] | None = None,
) -> T:
    """Make an object of a table's content; its problems become a TableError.

    Args:
        kind: a model.
        content: what its fields are made of.
        path: path of the table.
        key: key of the content in the table; "": the whole table.
        context: context of the validators.
    """
    try:
        return TypeAdapter(kind).validate_python(content, context=context)
    except ValidationError as error:
        problems = [
            (".".join(map(str, (*filter(None, [key]), *problem["loc"]))), _problem(problem))
            for problem in error.errors()
        ]
        (first_key, first), *others = problems
        text = "; ".join([first, *(f"{other}: {problem}" for other, problem in others)])
        raise TableError(path, first_key, text) from error


def _problem(error: Mapping[str, Any]) -> str:
    """Describe an error of pydantic's for somebody who looks at the table."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return "unknown key"
    if error["type"] == "missing":
        return "is missing"
    return f"{error['msg']}, not {error['input']!r}"


def _require_new(name: str, known: Mapping[str, Any], path: Path, key: str) -> None:
    if name in known:
        raise TableError(path, key, "there is one of this name already")


def _with_base(
    entry: dict[str, Any], entries: Mapping[str, dict[str, Any]], path: Path, key: str
) -> dict[str, Any]:
    """An entry without ``like``; what it leaves out is that of the entry which it is like."""
    if "like" not in entry:
        return entry
    base = entry["like"]
    if not isinstance(base, str) or base not in entries or "like" in entries[base]:
        problem = f"{base!r} is no detector of this table with all keys of its own"
        raise TableError(path, f"{key}.like", problem)
    values = {**entries[base], **entry}
    del values["like"]
    return values
