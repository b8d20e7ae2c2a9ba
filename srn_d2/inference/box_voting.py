"""Box voting: the detections of several views of an image become one set.

Boxes are XYXY whose corners are a box's first and last pixels: its width is x2 - x1 + 1.
n boxes · G groups
"""

import numpy as np
import torch
from torch import Tensor

VOTING_IOU = 0.5
"""IoU from which the authors' released test code merges two boxes."""


def vote_boxes(
    boxes: Tensor,
    scores: Tensor,
    *,
    iou_threshold: float = VOTING_IOU,
    keep_single: bool = False,
) -> tuple[Tensor, Tensor]:
    """Merge each group of boxes that overlap its best one into their mean, weighted by score.

    The best box and all that overlap it make a group and leave; so does the best of the rest with
    those of the rest that overlap it, and so on. A merged box has the best score of its group. As
    in the released code, sums and overlaps are in float64, and groups of score 0 are dropped.

    Args:
        boxes: (n, 4).
        scores: (n,), not negative.
        iou_threshold: boxes overlap from this IoU on, in (0, 1].
        keep_single: keep the boxes that nothing else overlaps, which the released code drops: a
            face is what at least two views found.

    Returns:
        boxes (G, 4) and scores (G,), best first, of the types and on the device of the input.
    """
    order = scores.argsort(descending=True, stable=True)
    ordered_boxes, weights = boxes[order].double(), scores[order].double()
    groups, leaders = group_boxes(ordered_boxes, iou_threshold)

    total_weight = weights.new_zeros(len(leaders)).index_add_(0, groups, weights)
    sums = ordered_boxes.new_zeros(len(leaders), 4)
    sums.index_add_(0, groups, ordered_boxes * weights[:, None])
    wanted = total_weight > 0
    if not keep_single:
        wanted &= groups.bincount(minlength=len(leaders)) > 1
    kept = wanted.nonzero().squeeze(1)
    voted = sums[kept] / total_weight[kept, None]
    return voted.to(boxes.dtype), scores[order][leaders[kept]]


def group_boxes(boxes: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor]:
    """Groups as ``vote_boxes`` merges them.

    It always works on the CPU: the steps are many, small, and each depends on those before it.
    Memory grows with n, time with n x G.

    Args:
        boxes: (n, 4), best first.
        iou_threshold: a box belongs to the first group whose leader's IoU with it reaches this.

    Returns:
        (n,) int64, each box's group, numbered in the order of their leaders, and (G,) int64, the
        leader of each group, its first box. On the device of ``boxes``.
    """
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.detach().cpu().double().numpy().T)  # each (n,)
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    groups = np.full(len(boxes), -1, dtype=np.int64)
    leaders = []
    for leader in range(len(boxes)):
        if groups[leader] >= 0:
            continue
        groups[leader] = len(leaders)
        # Comparisons of one axis leave few boxes for the overlap. All before the leader are taken.
        rest = slice(leader + 1, None)
        near = (groups[rest] < 0) & (x1[rest] <= x2[leader] + 1) & (x2[rest] >= x1[leader] - 1)
        near = leader + 1 + np.flatnonzero(near)
        width = np.minimum(x2[leader], x2[near]) - np.maximum(x1[leader], x1[near]) + 1
        height = np.minimum(y2[leader], y2[near]) - np.maximum(y1[leader], y1[near]) + 1
        intersection = np.maximum(width, 0) * np.maximum(height, 0)
        iou = intersection / (areas[leader] + areas[near] - intersection)
        groups[near[iou >= iou_threshold]] = len(leaders)
        leaders.append(leader)
    return (
        torch.from_numpy(groups).to(boxes.device),
        torch.tensor(leaders, dtype=torch.int64, device=boxes.device),
    )


def clip_to_pixels(boxes: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Boxes (n, 4) with every corner on a pixel of an image (height, width)."""
    height, width = image_size
    last = boxes.new_tensor([width - 1, height - 1, width - 1, height - 1])
    return boxes.clamp(min=0).minimum(last)
