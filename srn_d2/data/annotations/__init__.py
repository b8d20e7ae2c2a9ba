"""Readers of annotation files, which need neither torch nor detectron2."""

from .box_format import BOX_FORMATS
from .reader import read_faces
from .table import FaceTable

__all__ = ["BOX_FORMATS", "FaceTable", "read_faces"]
