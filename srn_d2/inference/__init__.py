"""Face detection in pictures.

Exports are imported lazily: the detector on ONNX Runtime needs neither torch nor detectron2.
"""

from srn_d2.heavy_imports import import_heavy

_LAZY = {
    "Face": "faces",
    "FaceDetector": "detector",
    "FacePredictor": "predictor",
    "Faces": "faces",
    "SRNWithTTA": "test_time_augmentation",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_heavy(f"{__name__}.{_LAZY[name]}"), name)
