"""Checkpoints that other code has written: where their weights are, and what hinders loading.

Files are read without executing anything in them.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

AVERAGED_ENTRIES = (
    "ema",
    "model_ema",
    "ema_model",
    "ema_state_dict",
    "state_dict_ema",
    "params_ema",
)
"""Entries of averaged weights, which are used rather than the others, as this project's are."""
WEIGHT_ENTRIES = (
    *AVERAGED_ENTRIES,
    *("model", "state_dict", "model_state_dict", "model_state", "net", "network", "weights"),
    *("params", "module", "detector"),
)
"""Names of entries that hold weights, in the order in which they are looked for."""
_MAX_DEPTH = 3
_MAX_NAMED = 4


class InertTensor:
    """Stand-in for a tensor of a file that is looked at only."""

    def __setstate__(self, state: Any) -> None:
        """Take the state of a subclass, or a parameter's hooks, and drop it."""


class InertObject:
    """Stand-in for an object of a class that is not loaded.

    Attributes:
        origin: module and name of its class.
    """

    origin = ""

    def __new__(cls, *args: Any, **kwargs: Any) -> "InertObject":
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "InertObject":
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Take an element of a list's subclass and drop it; so do ``extend`` and ``add``."""

    extend = add = append


class _InertUnpickler(pickle.Unpickler):
    """Reads the structure of a pickle; no class or function but OrderedDict is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch._utils" and name.startswith("_rebuild"):
            return lambda *args: InertTensor()
        return type(name, (InertObject,), {"origin": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> None:
        return None  # a tensor's storage


def find_weights(loaded: Any) -> tuple[str, ...] | None:
    """Keys that lead to the weights in a loaded file, or in ``read_structure``'s.

    Returns:
        () where the file itself is a state dict; None: there are no weights.
    """
    return next(_weight_paths(loaded, 0), None)


def _weight_paths(loaded: Any, depth: int) -> Iterator[tuple[str, ...]]:
    if not isinstance(loaded, Mapping) or depth > _MAX_DEPTH:
        return
    if any(is_tensor(value) for value in loaded.values()) and not _has_entries(loaded):
        yield ()
        return
    for key in (*(k for k in WEIGHT_ENTRIES if k in loaded), *loaded):
        if key == "optimizer" or not isinstance(key, str):
            continue
        yield from ((key, *path) for path in _weight_paths(loaded[key], depth + 1))


def _has_entries(loaded: Mapping) -> bool:
    return any(isinstance(loaded.get(key), Mapping) for key in WEIGHT_ENTRIES)


def is_tensor(value: Any) -> bool:
    """Return whether a value is a weight: a tensor, an array, or the stand-in for one."""
    return isinstance(value, (torch.Tensor, np.ndarray, InertTensor))


def select_weights(loaded: Any, source: str) -> tuple[dict[str, Any], str]:
    """The state dict in a loaded file of any layout.

    Args:
        loaded: what ``torch.load`` gave.
        source: the file's name, for messages.

    Returns:
        the weights by name, and a note on where they were and what was left out; "" for a state
        dict, or an entry "model" that is the only one.

    Raises:
        ValueError: there are no weights.
    """
    path = find_weights(loaded)
    if path is None:
        what = (
            f"its entries are {_listed(loaded) or 'none'}"
            if isinstance(loaded, Mapping)
            else f"it holds one {type(loaded).__name__}"
        )
        raise ValueError(f"{source} has no weights, which are tensors by name: {what}")
    entry = loaded
    for key in path:
        entry = entry[key]
    weights = {str(key): value for key, value in entry.items() if is_tensor(value)}
    notes = []
    others = [key for key in WEIGHT_ENTRIES if path and key in loaded and key != path[0]]
    if path not in ((), ("model",)) or others:
        notes.append(f"the weights are its entry {'/'.join(path)}")
    if others:
        notes.append(f"not {', '.join(others)}")
    if dropped := [key for key in entry if not is_tensor(entry[key])]:
        notes.append(f"left out, since they are no tensors: {_listed(dropped)}")
    return weights, ", ".join(notes)


def strip_prefix(weights: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Weights without a prefix that all have, such as "module." or "model.", if they fit then.

    Args:
        weights: the file's weights.
        names: the model's, by name.

    Returns:
        the same weights where a name is the model's already, or none is without prefix.
    """
    stripped = {key: value for key, value in weights.items() if key != "n_averaged"}
    while stripped and not any(key in names for key in stripped):
        first = next(iter(stripped)).partition(".")[0] + "."
        if not all(key.startswith(first) and key != first for key in stripped):
            return dict(weights)
        stripped = {key[len(first) :]: value for key, value in stripped.items()}
    return stripped if stripped else dict(weights)


def explain_unreadable(path: str) -> str | None:
    """Why a file cannot be loaded, and how to mend it; None if it is not clear."""
    file = Path(path)
    with open(file, "rb") as stream:
        head = stream.read(64)
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the file itself: run `git lfs pull` where it is from"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page, saved in place of the file: download it again"
    out = str(file.with_name(f"{file.stem}_weights.pth"))
    if len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 27:
        return "it is a safetensors file; two lines convert it:" + _lines(
            "from safetensors.torch import load_file; import torch",
            f"torch.save({{'model': load_file({path!r})}}, {out!r})",
        )
    if file.suffix == ".onnx":
        return "it is an ONNX file, whose graph cannot be trained: name the checkpoint it came from"
    if zipfile.is_zipfile(file) and _has_member(file, "constants.pkl"):
        return "it is a TorchScript file; two lines take its weights:" + _lines(
            f"import torch; module = torch.jit.load({path!r}, map_location='cpu')",
            f"torch.save({{'model': module.state_dict()}}, {out!r})",
        )
    return _explain_objects(path, out)


def _explain_objects(path: str, out: str) -> str | None:
    """Name the objects that a file holds besides plain data, and the lines that leave them out."""
    try:
        structure = read_structure(path)
    except Exception:  # damaged bytes raise nearly anything
        return None
    found = {key: origin for key, origin in _origins(structure) if origin}
    if not found:
        return None
    named = [f"{origin} in {key}" if key else origin for key, origin in found.items()]
    keys = find_weights(structure)
    if keys is None:  # the modules themselves were saved
        keys = next(((k,) for k in WEIGHT_ENTRIES if k in found), ()) if "" not in found else ()
        expression = f"checkpoint{''.join(f'[{key!r}]' for key in keys)}.float().state_dict()"
        needs = ", where their code can be imported"
    else:
        expression, needs = f"checkpoint{''.join(f'[{key!r}]' for key in keys)}", ""
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    return (
        f"besides plain data it holds objects, which are not loaded since they may run code: "
        f"{', '.join(named[:_MAX_NAMED])}{more}. If you trust where it is from, two lines write a "
        f"file without them{needs}:"
        + _lines(
            f"import torch; checkpoint = torch.load({path!r}, map_location='cpu', "
            "weights_only=False)",
            f"torch.save({{'model': {expression}}}, {out!r})",
        )
    )


def read_structure(path: str) -> Any:
    """A checkpoint's containers, with stand-ins for tensors and objects; nothing is executed.

    Raises:
        Exception: of any kind, if the file is damaged.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
            with archive.open(name) as stream:
                return _InertUnpickler(stream).load()
    with open(path, "rb") as stream:
        loaded = _InertUnpickler(stream).load()
        if isinstance(loaded, int):  # torch's format of before 1.6: a number, version, system
            for _ in range(3):
                loaded = _InertUnpickler(stream).load()
    return loaded


def _origins(structure: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Top-level entry ("" for the file itself), class of the first object in it or ""."""
    if isinstance(structure, InertObject):
        yield key, structure.origin
    elif isinstance(structure, Mapping) and not key:
        for name, value in structure.items():
            yield from _origins(value, str(name))
    elif isinstance(structure, (Mapping, list, tuple)):
        values = structure.values() if isinstance(structure, Mapping) else structure
        yield key, next((o for value in values for _, o in _origins(value, key) if o), "")


def _has_member(file: Path, name: str) -> bool:
    with zipfile.ZipFile(file) as archive:
        return any(member.endswith(f"/{name}") for member in archive.namelist())


def _lines(*lines: str) -> str:
    return "".join(f"\n  {line}" for line in lines)


def _listed(keys: Any) -> str:
    names = [str(key) for key in keys]
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    return ", ".join(names[:_MAX_NAMED]) + more
