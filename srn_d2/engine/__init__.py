"""Training: the trainer, its hooks, and the set-up of a run from the command line."""

from .setup import leave_process_group, setup_cfg
from .trainer import SRNTrainer

__all__ = ["SRNTrainer", "leave_process_group", "setup_cfg"]
