"""Data: built-in and custom data sets, augmentation, and the loaders of training and test.

Exports are imported lazily: reading images (``image_io``, ``image_input``, ``image_resize``) needs
neither torch nor detectron2.
"""

from srn_d2.heavy_imports import lazy_getattr

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

__getattr__ = lazy_getattr(__name__, _LAZY)
