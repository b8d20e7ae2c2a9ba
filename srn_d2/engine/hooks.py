"""Hooks of the trainer."""

import logging
import math
from pathlib import Path

import torch
from detectron2.engine import HookBase, hooks
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from srn_d2.checkpoint import SRNCheckpointer

BEST_CHECKPOINT = "model_best"

logger = logging.getLogger(__name__)


class UpdateAverage(HookBase):
    """Update a moving average of the weights after each step.

    Args:
        average: average of the trainer's model.
    """

    def __init__(self, average: AveragedModel):
        self._average = average

    def after_step(self) -> None:
        model = self.trainer.model
        if isinstance(model, DistributedDataParallel):
            model = model.module
        self._average.update_parameters(model)


class Evaluate(hooks.EvalHook):
    """Detectron2's EvalHook, skipped after a training that failed in its last iteration.

    A failed worker among several would evaluate alone and wait for the others.
    """

    def after_train(self) -> None:
        if self.trainer.iter < self.trainer.max_iter:
            self._eval_after_train = False
        super().after_train()


class KeepBestCheckpoint(HookBase):
    """Keep the weights of the best evaluation so far as model_best.pth.

    Unlike detectron2's BestCheckpointer it restores the best metric on resuming, from that file,
    and ``--resume`` never starts from that file.

    Args:
        eval_period: iterations between evaluations, as in the EvalHook that runs before.
        checkpointer: writes the file.
        metric: name in the event storage, "task/metric"; the higher the better.
    """

    def __init__(self, eval_period: int, checkpointer: SRNCheckpointer, metric: str):
        self._period = eval_period
        self._checkpointer = checkpointer
        self._metric = metric
        self._best = -math.inf
        self._has_warned = False

    def before_train(self) -> None:
        path = Path(self._checkpointer.save_dir) / f"{BEST_CHECKPOINT}.pth"
        if self.trainer.start_iter > 0 and path.is_file():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            if saved.get("best_metric_name") == self._metric:
                self._best = saved["best_metric"]

    def after_step(self) -> None:
        # The last iteration is evaluated in after_train.
        next_iter = self.trainer.iter + 1
        if self._period > 0 and next_iter % self._period == 0 and next_iter < self.trainer.max_iter:
            self._keep_if_best()

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:
            self._keep_if_best()

    def _keep_if_best(self) -> None:
        latest = self.trainer.storage.latest()
        value = float(latest[self._metric][0]) if self._metric in latest else None
        if value is None:
            others = (name for name in latest if "/" in name and not name.startswith("srn/"))
            self._warn(f"is no metric of the evaluation; there are: {', '.join(others) or 'none'}")
        elif math.isnan(value):
            self._warn("is NaN: DATASETS.TEST has no face that counts for it")
        elif value > self._best:
            self._best = value
            self._checkpointer.save(
                BEST_CHECKPOINT, tag=False, best_metric=value, best_metric_name=self._metric
            )

    def _warn(self, reason: str) -> None:
        """Warn once that there is no value to compare."""
        if not self._has_warned:
            logger.warning(
                "TEST.BEST_METRIC %s %s. %s.pth is not written",
                *(self._metric, reason, BEST_CHECKPOINT),
            )
        self._has_warned = True
