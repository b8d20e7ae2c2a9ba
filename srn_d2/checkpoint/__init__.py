"""Loading and saving of weights."""

from .checkpointer import SRNCheckpointer, pretrained_cache_path
from .released_weights import load_released_checkpoint

__all__ = ["SRNCheckpointer", "load_released_checkpoint", "pretrained_cache_path"]
