"""Sessions of ONNX Runtime. Needs neither torch nor detectron2."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

logger = logging.getLogger(__name__)

Providers = str | Sequence[str | tuple[str, Mapping[str, Any]]]
"""Execution providers of ONNX Runtime: a name, or names in order of preference, each with options
if it is a pair."""


def open_session(
    path: str | os.PathLike,
    *,
    threads: int | None = None,
    providers: Providers = ("CPUExecutionProvider",),
) -> "InferenceSession":
    """An ``onnxruntime.InferenceSession`` for pictures of many sizes.

    Args:
        threads, providers: see ``OnnxNetwork``.

    Raises:
        ImportError, FileNotFoundError, ValueError: as ``OnnxNetwork``.
    """
    onnxruntime = import_onnxruntime()
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no {path}")
    chosen = _normalize_providers(providers, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    # ONNX Runtime caches a memory plan for each input size, of which there may be thousands.
    options.enable_mem_pattern = False
    try:
        # Without fallback: it would print an error and take the CPU.
        session = onnxruntime.InferenceSession(
            os.fspath(path), options, providers=chosen, enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    if chosen and chosen[0][0] not in session.get_providers():  # its libraries are not there
        logger.warning(
            "%s cannot be used: ONNX Runtime computes by %s", chosen[0][0], session.get_providers()
        )
    return session


def _normalize_providers(
    providers: Providers, available: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Names of execution providers, each with its options.

    Raises:
        ValueError: one is not available, or is neither a name nor a name with a dict.
    """
    pairs = []
    for provider in [providers] if isinstance(providers, str) else providers:
        name, options = (provider, {}) if isinstance(provider, str) else _as_pair(provider)
        if name not in available:
            raise ValueError(f"this onnxruntime has no {name}, only {list(available)}")
        pairs.append((name, {str(key): str(value) for key, value in options.items()}))
    return pairs


def _as_pair(provider: object) -> tuple[str, Mapping[str, Any]]:
    match provider:
        case (str() as name, Mapping() as options):
            return name, options
    raise ValueError(
        f"providers has {provider!r}: each is a name, such as 'CPUExecutionProvider', or a pair of "
        "a name and a dict of options"
    )


def import_onnxruntime() -> ModuleType:
    """Import the package onnxruntime.

    Raises:
        ImportError: it is not installed; the message says how to install it.
        KeyboardInterrupt: Ctrl-C during the import, of which its extension module makes an
            ImportError.
    """
    import numpy  # noqa: F401 -- first: if Ctrl-C stops it within onnxruntime, the cause is lost

    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise ImportError("ONNX Runtime is not installed: pip install onnxruntime") from error
    return onnxruntime
