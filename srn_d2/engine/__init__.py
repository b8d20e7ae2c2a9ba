"""Training: the trainer, its hooks, and the set-up of a run from the command line."""

from .setup import setup_cfg
from .trainer import SRNTrainer

__all__ = ["SRNTrainer", "setup_cfg"]
