"""Positives of both steps and overlaps of boxes with their faces, level by level."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from detectron2.structures import Boxes
from detectron2.structures.boxes import matched_pairwise_iou
from torch import Tensor

from srn_d2.modeling.level_selection import LEVELS
from srn_d2.modeling.srn import SRN
from srn_d2.modeling.srn_head import SRNPredictions
from srn_d2.modeling.target_assignment import FACE, StepTargets


@dataclass(frozen=True)
class Targets:
    """What the losses of a batch were computed from.

    Attributes:
        step1, step2: targets of the anchors in ``first_step``, and of all; in the second step
            anchors that STC filters are ignored.
        omega_stc, omega_str: (R,) bool, anchors of STC and of STR levels.
        levels: level -> its anchors, a slice of R.
        predictions: of the head, flattened.
    """

    step1: StepTargets
    step2: StepTargets
    omega_stc: Tensor
    omega_str: Tensor
    levels: Mapping[str, slice]
    predictions: SRNPredictions


@dataclass
class TargetSums:
    """Sums over images, level by level; means are of these.

    Attributes:
        num_images: images.
        positives: ("step 1 class" | "step 1 box" | "step 2", level) -> positives.
        overlaps: (kind, level) -> [sum of IoUs, their number].
    """

    num_images: int = 0
    positives: dict[tuple[str, str], float] = field(default_factory=dict)
    overlaps: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def add_overlap(self, kind: str, level: str, boxes: Tensor, faces: Tensor) -> None:
        """Add the IoUs of boxes with their faces, (n, 4) each."""
        entry = self.overlaps.setdefault((kind, level), [0.0, 0])
        entry[0] += float(matched_pairwise_iou(Boxes(boxes), Boxes(faces)).sum())
        entry[1] += len(boxes)


REGULAR, FIRST_BOXES = "step 1 positives: anchor", "step 1 positives: first-step box"
REFINED, SECOND_BOXES = "step 2 positives: anchor", "step 2 positives: second-step box"


@torch.no_grad()
def add_targets(sums: TargetSums, model: SRN, targets: Targets) -> None:
    """Add the positives and overlaps of a batch.

    Args:
        sums: is changed.
        model: its box transform.
        targets: of the batch.
    """
    step1, step2 = targets.step1, targets.step2
    sums.num_images += len(step2.labels)
    first_step = targets.omega_stc | targets.omega_str
    of_step1 = first_step.cumsum(0) - 1  # index among the anchors of the first step
    for index, (level, own) in enumerate(targets.levels.items()):
        if targets.omega_stc[own].any() or targets.omega_str[own].any():
            selected = _take(step1, of_step1[own])
            is_face = selected.labels == FACE
            if targets.omega_stc[own].any():
                _add(sums.positives, ("step 1 class", level), is_face)
            if targets.omega_str[own].any():
                _add(sums.positives, ("step 1 box", level), is_face)
                anchors, faces = selected.anchors[is_face], selected.boxes[is_face]
                # The second step starts from the first step's boxes.
                boxes = step2.anchors[:, own][is_face]
                sums.add_overlap(REGULAR, level, anchors, faces)
                sums.add_overlap(FIRST_BOXES, level, boxes, faces)
        is_face = step2.labels[:, own] == FACE
        _add(sums.positives, ("step 2", level), is_face)
        anchors, faces = step2.anchors[:, own][is_face], step2.boxes[:, own][is_face]
        deltas = targets.predictions.deltas_s2[index][is_face].float()
        sums.add_overlap(REFINED, level, anchors, faces)
        sums.add_overlap(SECOND_BOXES, level, model.transform.apply_deltas(deltas, anchors), faces)


def level_slices(num_anchors: list[int]) -> dict[str, slice]:
    """Level -> its part of all anchors, from the number of anchors of each level."""
    slices, begin = {}, 0
    for level, number in zip(LEVELS, num_anchors, strict=True):
        slices[level] = slice(begin, begin + number)
        begin += number
    return slices


def _take(targets: StepTargets, index: Tensor) -> StepTargets:
    return StepTargets(*(x[:, index] for x in targets))


def _add(counts: dict[tuple[str, str], float], key: tuple[str, str], is_face: Tensor) -> None:
    counts[key] = counts.get(key, 0.0) + float(is_face.sum())
