"""Face detection in pictures.

Exports are imported lazily: the detector on ONNX Runtime needs neither torch nor detectron2.
"""

from srn_d2.heavy_imports import import_heavy, lazy_getattr

_LAZY = {
    "Face": "faces",
    "FaceDetector": "detector",
    "FacePredictor": "predictor",
    "Faces": "faces",
    "SRNWithTTA": "test_time_augmentation",
}

__all__ = list(_LAZY)

__getattr__ = lazy_getattr(__name__, _LAZY, import_heavy)
