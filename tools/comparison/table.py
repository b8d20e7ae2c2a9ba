"""The table of detectors: detectors.toml, and files like it."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SHIPPED_TABLE = Path(__file__).with_name("detectors.toml")
_SECTIONS = ("environments", "detectors")
_NAME = re.compile(r"[A-Za-z0-9][-\w.]*", re.ASCII)


class TableError(ValueError):
    """A damaged table; the message names file and key."""

    def __init__(self, source: Path, key: str, problem: str) -> None:
        super().__init__(f"{source}, {key}: {problem}")


@dataclass(frozen=True)
class Environment:
    """What is installed for a detector.

    Attributes:
        name: of its folder.
        requirements: of pip, dependencies included.
        share_packages: the packages of the running Python can be imported too.
    """

    name: str
    requirements: tuple[str, ...]
    share_packages: bool = False


@dataclass(frozen=True)
class Detector:
    """A detector with its settings; detectors.toml explains the fields.

    Attributes:
        environment: None: the running Python.
    """

    name: str
    title: str
    settings: str
    worker: Path
    environment: Environment | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    latency_options: Mapping[str, Any] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    optional: bool = False


def load_tables(*paths: str | os.PathLike) -> dict[str, Detector]:
    """Name -> detector, of several tables; environments of earlier ones may be used in later ones.

    Raises:
        FileNotFoundError: a table is not there.
        TableError: a table is no TOML, an entry is damaged or there twice, or a file that it names
            is missing.
    """
    environments: dict[str, Environment] = {}
    detectors: dict[str, Detector] = {}
    for path in map(Path, paths):
        content = _read(path)
        for name, entry in content["environments"].items():
            key = f"environments.{name}"
            _require_new(name, environments, path, key)
            environments[name] = _to_environment(name, entry, path, key)
        for name, entry in content["detectors"].items():
            key = f"detectors.{name}"
            _require_new(name, detectors, path, key)
            entry = _with_base(entry, content["detectors"], path, key)
            detectors[name] = _to_detector(name, entry, environments, path, key)
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


def _read(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise FileNotFoundError(f"No table of detectors: {path}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not UTF-8, or no TOML: the message has the line
        raise TableError(path, "whole file", f"no TOML: {error}") from error
    for section, entries in content.items():
        if section not in _SECTIONS:
            raise TableError(path, section, f"unknown; valid are {', '.join(_SECTIONS)}")
        if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
            raise TableError(path, section, f"expected tables [{section}.NAME]")
    return {section: content.get(section, {}) for section in _SECTIONS}


def _require_new(name: str, known: Mapping[str, Any], path: Path, key: str) -> None:
    if name in known:
        raise TableError(path, key, "there is one of this name already")
    if not _NAME.fullmatch(name):  # it becomes a folder's
        raise TableError(path, key, "a name has letters, digits, '-', '_' and '.' only")


def _to_environment(name: str, entry: dict[str, Any], path: Path, key: str) -> Environment:
    _check_types(entry, {"requirements": list}, {"share_packages": bool}, path, key)
    if not entry["requirements"]:
        raise TableError(path, f"{key}.requirements", "is empty")
    return Environment(name, **{**entry, "requirements": tuple(entry["requirements"])})


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


def _to_detector(
    name: str, entry: dict[str, Any], environments: Mapping[str, Environment], path: Path, key: str
) -> Detector:
    optional_keys = {
        "environment": str,
        "options": dict,
        "latency_options": dict,
        "files": list,
        "optional": bool,
    }
    _check_types(entry, {"title": str, "settings": str, "worker": str}, optional_keys, path, key)
    values = dict(entry)
    values["worker"] = _existing_file(entry["worker"], path, f"{key}.worker")
    values["files"] = tuple(
        _existing_path(file, path, f"{key}.files") for file in entry.get("files", ())
    )
    if "environment" in entry:
        if entry["environment"] not in environments:
            problem = f"no [environments.{entry['environment']}]"
            raise TableError(path, f"{key}.environment", problem)
        values["environment"] = environments[entry["environment"]]
    return Detector(name, **values)


def _check_types(
    entry: dict[str, Any],
    required: Mapping[str, type],
    optional: Mapping[str, type],
    path: Path,
    key: str,
) -> None:
    missing = [name for name in required if name not in entry]
    if missing:
        raise TableError(path, key, f"lacks {', '.join(missing)}")
    valid = {**required, **optional}
    for name, value in entry.items():
        if name not in valid:
            raise TableError(path, f"{key}.{name}", f"unknown; valid are {', '.join(valid)}")
        is_right = isinstance(value, valid[name])
        if is_right and isinstance(value, list):
            is_right = all(isinstance(item, str) for item in value)
        if not is_right:
            raise TableError(path, f"{key}.{name}", f"{value!r} is of the wrong type")


def _existing_file(name: str, table: Path, key: str) -> Path:
    path = _existing_path(name, table, key)
    if not path.is_file():
        raise TableError(table, key, f"{path} is no file")
    return path


def _existing_path(name: str, table: Path, key: str) -> Path:
    path = Path(os.path.abspath(table.parent / name))
    if not path.exists():
        raise TableError(table, key, f"{path} is not there")
    return path
