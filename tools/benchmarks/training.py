"""Time and memory of a training step by stage."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances
from torch import Tensor

from srn_d2.engine import SRNTrainer
from srn_d2.modeling import SRN

from .memory import measure_memory
from .stages import BACKBONE, FIRST_STEP, FPN, SECOND_STEP, StageMeter, clock, replaced
from .timing import alternate, spread
from .variants import calibrate

MATCHING, LOSSES, LOSSES_BACKWARD = "matching", "losses", "losses, backward"
NETWORK_BACKWARD, OPTIMIZER, INPUT = "network, backward", "optimizer", "input"
TARGET_STAGES = (MATCHING, LOSSES, LOSSES_BACKWARD)
"""Stages between the network's predictions and their gradient."""

FACE_SIDES = (8.0, 256.0)
"""Least and largest side in pixels of synthetic faces, log-uniform between."""

PROFILE_ROWS = 25


class TrainingStep:
    """A training step of one worker on the same images again and again, stage by stage.

    The losses' backward and the network's are done one after the other, so that each can be
    measured; together they are what one backward does.

    Args:
        cfg: the model and its optimizer; weights are random, calibrated on a first image.
    """

    def __init__(self, cfg: CfgNode):
        self.model: SRN = SRNTrainer.build_model(cfg)
        head = self.model.head
        image = self.model.preprocess_image([{"image": _noise((256, 256), 0)}])
        calibrate(head.cls_score, head.bbox_pred, lambda: self.model.eval().detect(image))
        self.model.train()
        self.optimizer = SRNTrainer.build_optimizer(cfg, self.model)

    def __call__(self, batch: list[dict], meter: StageMeter) -> float:
        """One step on samples as the training loader gives; returns the loss."""
        model = self.model
        self.optimizer.zero_grad()
        stages = (
            (model.backbone, "forward", FPN),
            (model.backbone.bottom_up, "forward", BACKBONE),
            (model.head, "forward", SECOND_STEP),
            (model.head, "first_step", FIRST_STEP),
            (model, "forward_training", MATCHING),
            (model, "_losses", LOSSES),
        )
        predictions: list[Tensor] = []
        with meter.wrap(*stages), _kept_predictions(model, predictions), meter.stage(INPUT):
            losses = model(batch)
        loss = sum(losses.values())
        with meter.stage(LOSSES_BACKWARD):
            gradients = torch.autograd.grad(loss, predictions, materialize_grads=True)
        with meter.stage(NETWORK_BACKWARD):
            torch.autograd.backward(predictions, gradients)
        with meter.stage(OPTIMIZER):
            self.optimizer.step()
        return loss.item()


@contextmanager
def _kept_predictions(model: SRN, kept: list[Tensor]) -> Iterator[None]:
    """Context in which the head's predictions are also appended to ``kept``."""
    forward = model.head.forward

    def keep(features: Sequence[Tensor]):
        predictions = forward(features)
        kept.extend(x for levels in predictions for x in levels if x is not None)
        return predictions

    with replaced(model.head, "forward", keep):
        yield


def measure_training(
    cfg: CfgNode,
    size: tuple[int, int],
    *,
    num_images: int,
    num_faces: int,
    memory_faces: Sequence[int],
    repeats: int,
) -> tuple[dict[str, Any], str]:
    """Profile a step, and its memory against the number of faces.

    Args:
        size: height and width of the images, pixels.
        num_images, num_faces: images of the timed step, and faces of each image.
        memory_faces: numbers of faces of an image for which the memory is measured.

    Returns:
        {"images", "faces", "seconds": of each step, "spread", "stages": {stage: median seconds},
        "matching_and_losses_share": of ``TARGET_STAGES``, "memory": [{"faces", "memory_added",
        "memory_peak": bytes}]}, and torch's profiler's table of one more step.
    """
    step = TrainingStep(cfg)
    device = step.model.device
    batch = made_up_batch(size, num_images, num_faces)
    totals: list[dict[str, float]] = []
    run = _metered(step, batch, totals)
    [seconds] = alternate(
        {"step": run}, repeats, warmup=1, device=device, description="training steps"
    ).values()
    counted = totals[-repeats:]  # without the warm-up
    table = profile_step(run, device)
    stages = {stage: float(np.median([t[stage] for t in counted])) for stage in counted[0]}
    targets = sum(stages[stage] for stage in TARGET_STAGES)
    memory = [_step_memory(step, size, num_images, number) for number in memory_faces]
    result = {
        "images": num_images,
        "faces": num_faces,
        "seconds": seconds,
        "spread": spread(seconds)._asdict(),
        "stages": stages,
        "matching_and_losses_share": targets / sum(stages.values()),
        "memory": memory,
    }
    return result, table


def profile_step(run: Callable[[], object], device: torch.device) -> str:
    """The profiler's table of one run, sorted by time, with the stages by name."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        run()
    averages = profiler.key_averages()
    return averages.table(sort_by=f"self_{device.type}_time_total", row_limit=PROFILE_ROWS)


def made_up_batch(size: tuple[int, int], num_images: int, num_faces: int) -> list[dict]:
    """Training samples of noise with faces anywhere in them.

    Args:
        size: height and width, pixels.
    """
    rng = np.random.default_rng(0)
    batch = []
    for index in range(num_images):
        side = np.exp(rng.uniform(*np.log(FACE_SIDES), (num_faces, 1)))
        centre = rng.uniform((0, 0), size[::-1], (num_faces, 2))
        half = side * [0.5, 0.625]  # faces are higher than wide, as anchors are
        boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
        instances = Instances(size)
        instances.gt_boxes = Boxes(torch.from_numpy(boxes))
        instances.gt_boxes.clip(size)
        instances.gt_classes = torch.zeros(num_faces, dtype=torch.int64)
        batch.append({"image": _noise(size, index), "instances": instances})
    return batch


def _noise(size: tuple[int, int], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)


def _metered(step: TrainingStep, batch: list[dict], totals: list[dict[str, float]]):
    def run() -> None:
        meter = clock(step.model.device)
        step(batch, meter)
        totals.append(meter.totals)

    return run


def _step_memory(
    step: TrainingStep, size: tuple[int, int], num_images: int, num_faces: int
) -> dict[str, int]:
    batch = made_up_batch(size, num_images, num_faces)
    step.optimizer.zero_grad()  # each step starts without gradients
    with measure_memory(step.model.device) as memory:
        step(batch, clock(step.model.device))
    return {"faces": num_faces, "memory_added": memory.added, "memory_peak": memory.peak}
