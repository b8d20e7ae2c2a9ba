"""Loading and saving of weights."""

from .checkpointer import SRNCheckpointer, pretrained_cache_path

__all__ = ["SRNCheckpointer", "pretrained_cache_path"]
