"""Data: built-in and custom data sets, augmentation, and the loaders of training and test."""

from srn_d2.data.datasets.builtin import register_builtin_datasets

__all__ = ["register_builtin_datasets"]

register_builtin_datasets()
