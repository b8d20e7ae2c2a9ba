"""What a report begins with: how the runs were trained, from what, and what they took."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling import build_model

from srn_d2.checkpoint import AVERAGE

from .rows import Row
from .runs import Run


def conditions(runs: Sequence[Run], rows: Sequence[Row]) -> dict[str, str]:
    """Name -> text.

    Args:
        runs: of one plan.
        rows: rows with a run that is done.
    """
    plan, cfg = runs[0].plan, runs[0].cfg
    text = {
        "base config": f"`{plan.config_file}` `{' '.join(plan.opts)}`".removesuffix(" ``"),
        "rows": ", ".join(dict.fromkeys(run.row.name for run in runs)),
        "seeds": ", ".join(map(str, dict.fromkeys(run.seed for run in runs))),
        "start": _start(runs, rows),
        "training": f"{cfg.SOLVER.MAX_ITER} iterations of {cfg.SOLVER.IMS_PER_BATCH} crops of "
        f"{cfg.INPUT.FACE_CROP_SIZE} px, {cfg.SOLVER.OPTIMIZER}, learning rate "
        f"{cfg.SOLVER.BASE_LR:g}, {cfg.MODEL.DEVICE}",
        "evaluation": f"{runs[0].dataset} `{' '.join(plan.eval_opts)}`".removesuffix(" ``"),
    }
    hours: dict[str, float] = {}
    for run in runs:
        for step, seconds in run.seconds().items():
            hours[step] = hours.get(step, 0.0) + seconds / 3600
    if hours:
        text["hours of all processes together"] = ", ".join(
            f"{step} {number:.2f}" for step, number in hours.items()
        )
    return text


def _start(runs: Sequence[Run], rows: Sequence[Row]) -> str:
    """The checkpoints, their own training, and which rows have weights that these lack."""
    plan = runs[0].plan
    if not plan.start_weights:
        return f"MODEL.WEIGHTS {runs[0].cfg.MODEL.WEIGHTS or '(random)'}"
    parts = []
    contents = {path: _load(path) for path in dict.fromkeys(plan.start_weights.values())}
    for row, path in plan.start_weights.items():
        iteration = contents[path].get("iteration")
        trained = "" if iteration is None else f", trained {iteration + 1} iterations"
        whose = row or ("all rows" if len(contents) == 1 else "all other rows")
        parts.append(f"{Path(path).name} ({whose}{trained})")
    shares = {}
    for row in rows:
        run = next(run for run in runs if run.row == row)
        if run.cfg.MODEL.WEIGHTS in contents:
            shares[row.name] = untrained_share(run, contents[run.cfg.MODEL.WEIGHTS])
    random = [f"{name} {100 * share:.1f} %" for name, share in shares.items() if share > 0]
    if random:
        parts.append(f"weights that it lacks start at random: {', '.join(random)}")
    return "; ".join(parts)


def untrained_share(run: Run, checkpoint: dict[str, Any]) -> float:
    """The share of a run's weights that its start does not have, 0 to 1.

    Args:
        run: its network is built.
        checkpoint: content of the file.
    """
    cfg = run.cfg.clone()
    cfg.MODEL.DEVICE = "cpu"
    state = checkpoint.get(AVERAGE, checkpoint.get("model", checkpoint))
    shapes = {key.removeprefix("module."): getattr(x, "shape", None) for key, x in state.items()}
    parameters = dict(build_model(cfg).named_parameters())
    lacking = [x for key, x in parameters.items() if shapes.get(key) != x.shape]
    return sum(x.numel() for x in lacking) / sum(x.numel() for x in parameters.values())


def _load(path: str) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
