"""Data sets: readers of annotations, and their registration with detectron2.

Importing it, or any module in it, registers the data sets that the configs name.
"""

from .builtin import register_builtin_datasets

__all__ = ["register_builtin_datasets"]

register_builtin_datasets()
