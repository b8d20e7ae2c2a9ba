"""Target assignment: matching of anchors to faces, refinement of anchors, and the filter of STC.

Functions of tensors, without a config and without gradients.

Shapes: N images · Rl anchors of a level · R anchors of an image, all levels one after the other
        M boxes of an image, faces and ignore regions
Labels: -1 ignore, 0 face, 1 background.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor

IGNORED = -1
FACE = 0
BACKGROUND = 1

IOU_CHUNK_ELEMENTS = 2**20
"""Maximum number of elements of an IoU matrix: bounds the memory of matching."""


class StepTargets(NamedTuple):
    """Targets of one step for the anchors of a batch.

    Attributes:
        labels: (N, R) int64, see the module; an anchor excluded from the step is IGNORED.
        boxes: (N, R, 4) XYXY, the face that each anchor overlaps most; only meaningful where the
            label is FACE.
        anchors: (N, R, 4) XYXY, anchors that the step's deltas refer to.
    """

    labels: Tensor
    boxes: Tensor
    anchors: Tensor

    def select(self, anchor_mask: Tensor) -> "StepTargets":
        """The targets of the anchors in ``anchor_mask``, (R,) bool, of every image."""
        chosen = _indices(anchor_mask)
        return StepTargets(*(field[:, chosen] for field in self))

    def count(self, label: int) -> Tensor:
        """Number of anchors with this label, over all images: a scalar tensor."""
        return (self.labels == label).sum()


class Overlaps(NamedTuple):
    """The best overlap of each anchor of one image, see :func:`best_overlaps`.

    Attributes:
        face_iou: (R,) IoU with the face that the anchor overlaps most; 0 without faces.
        face_index: (R,) int64, index of that face.
        ignored_iou: (R,) IoU with the ignore region that it overlaps most.
    """

    face_iou: Tensor
    face_index: Tensor
    ignored_iou: Tensor


def build_matcher(thresholds: Sequence[float]) -> Matcher:
    """A matcher with labels 0 (background) below the first IoU, 1 (face) from the second on.

    Between the two the label is -1 (ignore). No low-quality matches (paper section 3.5).

    Raises:
        ValueError: unless 0 < first <= second <= 1.
    """
    low, high = thresholds
    if not 0 < low <= high <= 1:
        raise ValueError(f"IoU thresholds must be 0 < low <= high <= 1, not {list(thresholds)}")
    return Matcher([low, high], labels=[0, -1, 1], allow_low_quality_matches=False)


@torch.no_grad()
def best_overlaps(anchors: Tensor, boxes: Tensor, is_ignored: Tensor) -> Overlaps:
    """Find for each anchor the face and the ignore region that it overlaps most.

    Processes the anchors in chunks, so that the memory does not grow with anchors x boxes. Ties go
    to the box of the lowest index.

    Args:
        anchors: (R, 4) XYXY.
        boxes: (M, 4) XYXY.
        is_ignored: (M,) bool, True for ignore regions.
    """
    face_iou, face_index = _best_iou(anchors, boxes[~is_ignored])
    ignored_iou, _ = _best_iou(anchors, boxes[is_ignored])
    return Overlaps(face_iou, face_index, ignored_iou)


@torch.no_grad()
def label_anchors(
    overlaps: Overlaps, boxes: Tensor, is_ignored: Tensor, matcher: Matcher
) -> tuple[Tensor, Tensor]:
    """Label each anchor of an image by its overlaps.

    Faces have precedence. A background anchor is ignored if its IoU with an ignore region reaches
    the matcher's lower threshold.

    Args:
        overlaps: from :func:`best_overlaps` for the same boxes.
        boxes, is_ignored: (M, 4) and (M,), see :func:`best_overlaps`.
        matcher: from :func:`build_matcher`.

    Returns:
        labels (R,) int64 and matched faces (R, 4), see :class:`StepTargets`.
    """
    _, matches = matcher(overlaps.face_iou[None])
    _, ignored_matches = matcher(overlaps.ignored_iou[None])
    labels = torch.full_like(overlaps.face_index, IGNORED)
    labels[matches == 1] = FACE
    labels[(matches == 0) & (ignored_matches == 0)] = BACKGROUND

    faces = boxes[~is_ignored]
    matched = faces[overlaps.face_index] if len(faces) else boxes.new_zeros(len(labels), 4)
    return labels, matched


@torch.no_grad()
def two_step_targets(
    anchors: Tensor,
    refined_anchors: Tensor,
    is_refined: Tensor,
    gt_boxes: Sequence[Tensor],
    gt_ignore: Sequence[Tensor],
    matchers: Sequence[Matcher],
    refined_labels: bool = True,
) -> tuple[StepTargets, StepTargets, Tensor]:
    """The targets of both steps for all anchors of a batch, before any are filtered.

    The first step matches the regular anchors, the second the refined ones, which differ on STR
    levels only: on the others both steps share the overlaps.

    Args:
        anchors: (R, 4) the regular anchors.
        refined_anchors: (N, R, 4), from :func:`refine_anchors`.
        is_refined: (R,) bool, the anchors of STR levels.
        gt_boxes, gt_ignore: per image (M, 4) and (M,), see :func:`best_overlaps`.
        matchers: for the first step, the second, and the second on refined anchors.
        refined_labels: False: on STR levels, too, the second step's labels and faces are those of
            the regular anchors.

    Returns:
        both steps' targets, and (N, R) int64, the second step's labels by the regular anchors.
    """
    refined = _indices(is_refined)
    first_matcher, second_matcher, refined_matcher = matchers
    labelled: tuple[list, list] = ([], [])
    regular_labels = []
    for image_anchors, boxes, is_ignored in zip(refined_anchors, gt_boxes, gt_ignore, strict=True):
        overlaps = best_overlaps(anchors, boxes, is_ignored)
        labelled[0].append(label_anchors(overlaps, boxes, is_ignored, first_matcher))
        second = label_anchors(overlaps, boxes, is_ignored, second_matcher)
        regular_labels.append(second[0].clone())
        if refined_labels:
            moved = best_overlaps(image_anchors[refined], boxes, is_ignored)
            of_refined = label_anchors(moved, boxes, is_ignored, refined_matcher)
            for field, refined_field in zip(second, of_refined, strict=True):
                field[refined] = refined_field
        labelled[1].append(second)

    step_anchors = (anchors.expand_as(refined_anchors), refined_anchors)
    step1, step2 = (
        StepTargets(
            labels=torch.stack([labels for labels, _ in images]),
            boxes=torch.stack([boxes for _, boxes in images]),
            anchors=start,
        )
        for images, start in zip(labelled, step_anchors, strict=True)
    )
    return step1, step2, torch.stack(regular_labels)


@torch.no_grad()
def refine_anchors(
    anchors: Sequence[Tensor],
    deltas_s1: Sequence[Tensor | None],
    transform: Box2BoxTransform,
    num_images: int,
) -> list[Tensor]:
    """Move the anchors of STR levels by their first-step deltas (paper section 3.3).

    No gradient reaches the first step through the result.

    Args:
        anchors: per level (Rl, 4), the same for all images.
        deltas_s1: per level (N, Rl, 4), or None where the level regresses once.

    Returns:
        per level (N, Rl, 4): each image's own anchors where the level regresses twice, else the
        regular ones, repeated without a copy.
    """
    refined = []
    for level_anchors, deltas in zip(anchors, deltas_s1, strict=True):
        per_image = level_anchors.expand(num_images, -1, -1)
        if deltas is not None:
            flat = transform.apply_deltas(deltas.reshape(-1, 4), per_image.reshape(-1, 4))
            per_image = flat.view_as(per_image)
        refined.append(per_image)
    return refined


@torch.no_grad()
def stc_keep_mask(scores_s1: Tensor, threshold: float) -> Tensor:
    """Mask of the anchors of an STC level kept for the second step (paper section 3.2).

    An anchor is dropped if its negative confidence 1 - p exceeds ``threshold`` (theta). With
    threshold 1 all are kept.

    Args:
        scores_s1: first-step logits, any shape.

    Returns:
        bool, of the same shape.
    """
    return 1 - scores_s1.float().sigmoid() <= threshold


def keep_mask(
    anchors: Sequence[Tensor], stc_masks: Sequence[Tensor | None], num_images: int
) -> Tensor:
    """(N, R) bool: mask of the second step's anchors, with all anchors of levels without STC.

    Args:
        anchors: per level (Rl, 4).
        stc_masks: per level (N, Rl), from ``stc_keep_mask``; None on a level without STC.
    """
    return torch.cat(
        [
            torch.ones(num_images, len(boxes), dtype=torch.bool, device=boxes.device)
            if mask is None
            else mask
            for boxes, mask in zip(anchors, stc_masks, strict=True)
        ],
        dim=1,
    )


def level_mask(anchors: list[Tensor], levels: list[Tensor | None]) -> Tensor:
    """(R,) bool: mask of the anchors of levels that are not None."""
    return torch.cat(
        [
            torch.full((len(boxes),), level is not None, device=boxes.device)
            for boxes, level in zip(anchors, levels, strict=True)
        ]
    )


def ignore_mask(instances: Instances) -> Tensor:
    """(M,) bool: True for ground-truth boxes that are ignore regions."""
    if instances.has("gt_ignore"):
        return instances.gt_ignore
    boxes = instances.gt_boxes.tensor
    return torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)


def _indices(mask: Tensor) -> Tensor:
    """Indices of a mask (R,): synchronises a GPU once, instead of at each use of the mask."""
    return mask.nonzero().squeeze(1)


def _best_iou(anchors: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(R, 4), (M, 4) -> IoU (R,) of the box that overlaps most, and its index (R,)."""
    iou = anchors.new_zeros(len(anchors))
    index = torch.zeros(len(anchors), dtype=torch.int64, device=anchors.device)
    if len(boxes) == 0:
        return iou, index
    chunk = max(1, IOU_CHUNK_ELEMENTS // len(boxes))
    # Results go into preallocated tensors: small ones allocated between the large temporary ones
    # would fragment the heap, whose peak would then grow with the number of chunks.
    for start in range(0, len(anchors), chunk):
        part = slice(start, start + chunk)
        matrix = pairwise_iou(Boxes(boxes), Boxes(anchors[part]))  # (M, chunk)
        torch.max(matrix, dim=0, out=(iou[part], index[part]))
    return iou, index
