"""Selective Refinement Network (AAAI 2019) for face detection, as detectron2 components."""

__version__ = "0.1.0"
