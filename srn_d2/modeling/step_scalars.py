"""Scalars for TensorBoard: matched anchors of a training step and anchors removed by STC."""

import torch
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor

from .target_assignment import BACKGROUND, FACE, StepTargets


def log_step_scalars(
    step1: StepTargets, step2: StepTargets, phi: StepTargets, keep_stc: Tensor
) -> None:
    """Write counts per image to the event storage, if there is one.

    "before" and "after" are the second step's anchors before and after STC's filter.

    Args:
        step1: targets of the first step.
        step2: targets of the second step, of all anchors.
        phi: the same, with anchors filtered by the first step IGNORED.
        keep_stc: (N, anchors of STC levels), bool: True for anchors that STC keeps.
    """
    if not has_event_storage():
        return
    counts = {
        "positives_s1": step1.count(FACE),
        "positives_s2": phi.count(FACE),
        "positives_before_stc": step2.count(FACE),
        "negatives_before_stc": step2.count(BACKGROUND),
        "negatives_after_stc": phi.count(BACKGROUND),
        "kept": keep_stc.sum(),
    }
    # A single transfer from the device.
    values = torch.stack(list(counts.values())).tolist()
    counts = dict(zip(counts, values, strict=True))
    kept = counts.pop("kept")
    scalars = {name: count / len(phi.labels) for name, count in counts.items()}
    for when, positives in (("before", "positives_before_stc"), ("after", "positives_s2")):
        negatives = max(counts[f"negatives_{when}_stc"], 1)
        scalars[f"positives_per_negative_{when}_stc"] = counts[positives] / negatives
    if keep_stc.numel():
        scalars["stc_removed_share"] = 1 - kept / keep_stc.numel()
    get_event_storage().put_scalars(**{f"srn/{name}": x for name, x in scalars.items()})
