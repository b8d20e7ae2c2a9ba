"""A training step, which stops before the optimizer's if a loss is not finite."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from detectron2.engine import AMPTrainer, SimpleTrainer


class NonFiniteLossError(FloatingPointError):
    """Error for a loss that is infinite or NaN; the message names the images."""


class LoaderWithLast:
    """A data loader that keeps its last batch."""

    def __init__(self, loader: Iterable[list[dict]]):
        self.loader = loader
        self.last: list[dict] = []

    def __iter__(self) -> Iterator[list[dict]]:
        for batch in self.loader:
            self.last = batch
            yield batch


class CheckLosses:
    """Stop before the optimizer's step if this worker's losses are not finite.

    Each worker checks its own losses: only it knows the names of its images. When one stops,
    detectron2's launcher ends the others.
    """

    def _write_metrics(self, loss_dict: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> None:
        # A single transfer, to synchronise once; super() reads CPU tensors.
        values = torch.stack(list(loss_dict.values())).detach().cpu()
        if not values.isfinite().all():
            losses = dict(zip(loss_dict, values.tolist(), strict=True))
            rates = sorted({group["lr"] for group in self.optimizer.param_groups})
            files = [sample.get("file_name", "?") for sample in self.data_loader.last]
            raise NonFiniteLossError(
                f"a loss is not finite at iteration {self.iter}\nlosses: {losses}\n"
                f"learning rate: {', '.join(map(str, rates))}\nimages:\n  " + "\n  ".join(files)
            )
        super()._write_metrics(dict(zip(loss_dict, values, strict=True)), *args, **kwargs)


class Step(CheckLosses, SimpleTrainer):
    """A training step in float32, or in the model's own bfloat16 autocast on a CPU."""


class AMPStep(CheckLosses, AMPTrainer):
    """A training step in CUDA's mixed precision."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # A checkpoint of a training without mixed precision has no scale: keep the initial one.
        super().load_state_dict({"grad_scaler": self.grad_scaler.state_dict(), **state_dict})
