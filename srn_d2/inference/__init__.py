"""Pictures in, faces out.

What this package gives out is imported when it is first used: the detector on ONNX Runtime needs
neither torch nor detectron2.
"""

import importlib

_LAZY = {
    "Face": ".faces",
    "FaceDetector": ".detector",
    "FacePredictor": ".predictor",
    "Faces": ".faces",
    "SRNWithTTA": ".test_time_augmentation",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name], __name__), name)
