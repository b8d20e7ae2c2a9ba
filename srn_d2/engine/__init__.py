"""Training: the trainer, its hooks, checks, and the set-up of a run from the command line."""

from .checks import check_datasets, check_solver
from .launch import launch_workers
from .setup import leave_process_group, setup_cfg
from .trainer import SRNTrainer

__all__ = [
    "SRNTrainer",
    "check_datasets",
    "check_solver",
    "launch_workers",
    "leave_process_group",
    "setup_cfg",
]
