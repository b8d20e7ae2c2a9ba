"""Data: built-in and custom data sets, augmentation, and the loaders of training and test.

Exports are imported lazily: reading images (``image_io``, ``image_input``, ``image_resize``) needs
neither torch nor detectron2.
"""

import importlib

_LAZY = {
    "CorruptImageError": "image_io",
    "FaceDatasetMapper": "dataset_mapper",
    "InvalidImageError": "image_io",
    "build_face_test_loader": "build",
    "build_face_train_loader": "build",
    "read_image": "image_io",
    "register_builtin_datasets": "datasets.builtin",
    "register_face_folder": "datasets.custom",
}

__all__ = list(_LAZY)


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
