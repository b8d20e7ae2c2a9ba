"""Loading and saving of weights."""

from .checkpointer import AVERAGE, SRNCheckpointer, pretrained_cache_path
from .efficientnet_lite import convert_efficientnet_lite
from .packaged_weights import packaged_weights_path
from .released_weights import load_released_checkpoint
from .shipped_models import find_shipped_model

__all__ = [
    "AVERAGE",
    "SRNCheckpointer",
    "convert_efficientnet_lite",
    "find_shipped_model",
    "load_released_checkpoint",
    "packaged_weights_path",
    "pretrained_cache_path",
]
