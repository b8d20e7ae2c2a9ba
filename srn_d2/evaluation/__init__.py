"""Evaluation protocols of face detection as functions of arrays and as detectron2 evaluators.

What is listed here is imported when it is first used: the functions of arrays need neither torch
nor detectron2.
"""

import importlib

_LAZY = {
    "CocoFaceEvaluator": "coco.evaluator",
    "VocApEvaluator": "voc_ap.evaluator",
    "WiderFaceEvaluator": "widerface.evaluator",
    "build_evaluator": "build",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
