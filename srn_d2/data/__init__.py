"""Data: built-in and custom data sets, augmentation, and the loaders of training and test."""

from srn_d2.data.build import build_face_test_loader, build_face_train_loader
from srn_d2.data.dataset_mapper import FaceDatasetMapper
from srn_d2.data.datasets.builtin import register_builtin_datasets
from srn_d2.data.datasets.custom import register_face_folder
from srn_d2.data.image_io import CorruptImageError, InvalidImageError, read_image

__all__ = [
    "CorruptImageError",
    "FaceDatasetMapper",
    "InvalidImageError",
    "build_face_test_loader",
    "build_face_train_loader",
    "read_image",
    "register_builtin_datasets",
    "register_face_folder",
]

register_builtin_datasets()
