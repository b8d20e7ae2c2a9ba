"""What a training step does at a checkpoint: gradients, positives and overlaps, by level."""

import inspect
import itertools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils.events import EventStorage
from tqdm import tqdm

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.data import build_face_train_loader
from srn_d2.engine import SRNTrainer
from srn_d2.modeling.srn import SRN

from .gradients import GradientNorms, gradient_norms
from .step_targets import Targets, TargetSums, add_targets, level_slices


@dataclass
class Mechanism:
    """Measures of some training batches.

    Attributes:
        gradients: of each batch.
        targets: sums over the batches.
        losses: loss -> its value in each batch.
    """

    gradients: list[GradientNorms] = field(default_factory=list)
    targets: TargetSums = field(default_factory=TargetSums)
    losses: dict[str, list[float]] = field(default_factory=dict)


def measure_checkpoint(
    cfg: CfgNode, weights: str, num_batches: int, iteration: int = 0
) -> Mechanism:
    """Measure a checkpoint on the first batches that a training by this config sees.

    Args:
        cfg: of the training; computed in float32.
        weights: checkpoint; weights that it lacks are initialised as in the training.
        num_batches: training batches.
        iteration: of the training, on which STC and STR may depend (MODEL.SRN.STC_START_ITER).

    Raises:
        LOADING_ERRORS of :mod:`srn_d2.data.build`: weights or data cannot be used.
    """
    cfg = cfg.clone()
    cfg.SOLVER.CPU_BFLOAT16 = False
    torch.manual_seed(cfg.SEED)
    model = SRNTrainer.build_model(cfg)
    SRNCheckpointer(model).load(weights)
    batches = itertools.islice(build_face_train_loader(cfg), num_batches)
    progress = tqdm(batches, total=num_batches, unit="batch", disable=None)
    return measure_mechanism(model, progress, iteration)


def measure_mechanism(model: SRN, batches: Iterable[list[dict]], iteration: int = 0) -> Mechanism:
    """Run forward and backward passes over training batches; no weight changes.

    Statistics of batch normalisation are those of the batches, as in training, and the running ones
    are put back.

    Args:
        model: with the weights of the checkpoint, in float32.
        batches: of the training loader.
        iteration: see :func:`measure_checkpoint`.

    Raises:
        ValueError: there is no batch.
    """
    found = Mechanism()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    was_training = model.training
    model.train()
    try:
        for batch in batches:
            with EventStorage(iteration), _recorded(model) as record:
                losses = model(batch)
            for name, loss in losses.items():
                found.losses.setdefault(name, []).append(float(loss.detach()))
            found.gradients.append(gradient_norms(model, losses, record["predictions"]))
            add_targets(found.targets, model, _targets(record))
    finally:
        model.train(was_training)
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(buffers[name])
    if not found.gradients:
        raise ValueError("There is no batch to measure gradients on")
    return found


@contextmanager
def _recorded(model: SRN) -> Iterator[dict[str, Any]]:
    """Context in which a forward pass records the head's predictions and the losses' arguments."""
    record: dict[str, Any] = {}
    compute = model._losses
    signature = inspect.signature(compute)

    def keep_predictions(module, inputs, output):
        record["predictions"] = output

    def record_arguments(*args, **kwargs):
        record["arguments"] = dict(signature.bind(*args, **kwargs).arguments)
        return compute(*args, **kwargs)

    hook = model.head.register_forward_hook(keep_predictions)
    model._losses = record_arguments  # shadows the method
    try:
        yield record
    finally:
        hook.remove()
        del model._losses


def _targets(record: dict[str, Any]) -> Targets:
    arguments = record["arguments"]
    flat = record["predictions"].flatten()
    return Targets(
        step1=arguments["step1"],
        step2=arguments["phi"],
        omega_stc=arguments["omega_stc"],
        omega_str=arguments["omega_str"],
        levels=level_slices([x.shape[1] for x in flat.scores_s2]),
        predictions=flat,
    )
