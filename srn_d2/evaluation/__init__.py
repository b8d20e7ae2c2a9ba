"""Evaluation protocols of face detection as functions of arrays and as detectron2 evaluators.

What is listed here is imported when it is first used: the functions of arrays need neither torch
nor detectron2.
"""

from srn_d2.heavy_imports import lazy_getattr

_LAZY = {
    "CocoFaceEvaluator": "coco.evaluator",
    "VocApEvaluator": "voc_ap.evaluator",
    "WiderFaceEvaluator": "widerface.evaluator",
    "build_evaluator": "build",
}

__all__ = list(_LAZY)

__getattr__ = lazy_getattr(__name__, _LAZY)
