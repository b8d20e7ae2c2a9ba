"""Resuming: settings of the run before and of this one, and the optimizer's state between them."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from detectron2.config import CfgNode

WORKERS = "number of workers"
_OTHER_KEYS = ("DATASETS.TRAIN", "INPUT.FACE_CROP_SIZE", "SEED")
# Read in each iteration or at its end, not a part of the schedule.
_UNIMPORTANT = ("SOLVER.CHECKPOINT_PERIOD", "SOLVER.REFERENCE_WORLD_SIZE")

logger = logging.getLogger(__name__)


def log_start(output_dir: str, resume: bool, found: bool) -> None:
    """Log how a run begins that does not resume.

    Args:
        output_dir: folder of its checkpoints.
        resume: whether it was to resume.
        found: whether there is a checkpoint.
    """
    if resume:
        logger.info("--resume: %s has no last_checkpoint: training begins anew", output_dir)
    elif found:
        logger.warning(
            "%s has the checkpoints of an earlier run, which this one overwrites one by one; "
            "--resume would go on with it",
            output_dir,
        )


def run_settings(cfg: CfgNode, num_workers: int) -> dict[str, Any]:
    """What a checkpoint records of its run: keys and values, and the number of workers."""
    settings = dict(_leaves(cfg.SOLVER, "SOLVER."))
    for key in _OTHER_KEYS:
        section, _, name = key.partition(".")
        settings[key] = cfg[section][name] if name else cfg[section]
    return {**settings, WORKERS: num_workers}


def _leaves(node: CfgNode, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in node.items():
        if isinstance(value, CfgNode):
            yield from _leaves(value, f"{prefix}{name}.")
        elif prefix + name not in _UNIMPORTANT:
            yield prefix + name, value


def log_changes(before: Mapping[str, Any], now: Mapping[str, Any], iteration: int) -> None:
    """Warn of each setting that is another than in the run that wrote the checkpoint.

    Args:
        before: settings in the checkpoint; old ones have few.
        now: settings of this run, which are used.
        iteration: first iteration of this run.
    """
    for key, value in now.items():
        if key in before and _plain(before[key]) != _plain(value):
            logger.warning(
                "%s is %r, and was %r in the run that is resumed: %r is used from iteration %d on",
                *(key, value, before[key], value, iteration),
            )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def settings_of_old_checkpoint(trainer_state: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a checkpoint without recorded ones tells: SOLVER.BASE_LR and OPTIMIZER."""
    groups = trainer_state["_trainer"]["optimizer"]["param_groups"]
    rates = [group["initial_lr"] for group in groups if "initial_lr" in group]
    settings = {"SOLVER.OPTIMIZER": "AdamW" if "betas" in groups[0] else "SGD"}
    return settings | ({"SOLVER.BASE_LR": max(rates)} if rates else {})


def hyperparameters(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """Learning rate, weight decay and so on of each group of parameters."""
    return [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]


def fits_optimizer(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer's state is one of these groups of parameters.

    Args:
        state: ``state_dict()`` of an optimizer.
        optimizer: of the run that is resumed.
    """
    present = optimizer.state_dict()["param_groups"]
    if [len(g["params"]) for g in state["param_groups"]] != [len(g["params"]) for g in present]:
        return False
    is_adam = ["betas" in groups[0] for groups in (state["param_groups"], present)]
    if is_adam[0] != is_adam[1]:
        return False
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    saved = [index for group in state["param_groups"] for index in group["params"]]
    return all(
        value.shape == parameter.shape
        for index, parameter in zip(saved, parameters, strict=True)
        for value in state["state"].get(index, {}).values()
        if isinstance(value, torch.Tensor) and value.ndim > 0
    )
