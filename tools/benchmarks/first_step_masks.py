"""Synthetic masks of the cells that survive the first step: clusters, as around faces.

With random weights the first step's scores are meaningless, and the cost of the second step depends
on the positions of the survivors. So a benchmark imposes them, as logits that replace the first
step's own, which are still computed.

Shapes: N images · A anchors of a cell · a level's map has Hl x Wl cells · masks: for each STC
        level (N, Hl, Wl), bool
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from srn_d2.modeling import LEVELS
from srn_d2.modeling.target_assignment import stc_keep_mask

CLUSTER_SIDES = (2, 12)
"""Least and largest side of a cluster in cells: anchors have 2 or 2.8 cells' sides, around a face
the first step leaves its neighbours as well."""

FACE_SIDES = (8.0, 64.0)
"""Least and largest side in pixels of a face whose anchors are on an STC level (p2 .. p4)."""

SURVIVES, LEAVES = 10.0, -20.0
"""First-step logits: far from any threshold theta, but finite in every type."""


def clustered_mask(size: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """A map in which a share of the cells is True, in random rectangles and ellipses.

    The last cluster is cut where it would exceed the share.

    Args:
        size: (Hl, Wl).
        share: share of all cells, in [0, 1].

    Returns:
        bool (Hl, Wl), round(share x Hl x Wl) cells of which are True.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"the active share is {share}: it must be in [0, 1]")
    mask = np.zeros(size, dtype=bool)
    wanted = round(share * mask.size)
    if wanted == mask.size:
        return ~mask
    while (missing := wanted - int(mask.sum())) > 0:
        height, width = rng.integers(CLUSTER_SIDES[0], CLUSTER_SIDES[1] + 1, 2)
        cluster = _cluster(size, rng.uniform((0, 0), size), (height, width), rng.random() < 0.5)
        new = np.flatnonzero(cluster & ~mask)
        mask.flat[new[:missing]] = True
    return mask


def map_sizes(image_size: tuple[int, int], levels: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(Hl, Wl) of some levels of an image of (height, width) pixels, padding included."""
    strides = {level: 2 ** int(level[1:]) for level in levels}
    return {
        level: (-(-image_size[0] // stride), -(-image_size[1] // stride))
        for level, stride in strides.items()
    }


def masks_of_share(
    sizes: Mapping[str, tuple[int, int]], share: float, num_images: int, seed: int
) -> dict[str, Tensor]:
    """Clustered masks of some levels, each with the same share."""
    rng = np.random.default_rng(seed)
    return {
        level: torch.from_numpy(
            np.stack([clustered_mask(size, share, rng) for _ in range(num_images)])
        )
        for level, size in sizes.items()
    }


def masks_of_faces(
    sizes: Mapping[str, tuple[int, int]], num_faces: int, num_images: int, seed: int
) -> dict[str, Tensor]:
    """Masks around so many faces of an image, whose sides are log-uniform in ``FACE_SIDES``.

    A face is on the level of ``sizes`` whose anchors come nearest to it; the cells that it leaves
    there are those under it, with one more on each side.
    """
    rng = np.random.default_rng(seed)
    levels = list(sizes)
    masks = {level: np.zeros((num_images, *size), dtype=bool) for level, size in sizes.items()}
    anchor_sides = np.array([2.0 * 2 ** int(level[1:]) for level in levels])
    for image in range(num_images):
        for side in np.exp(rng.uniform(*np.log(FACE_SIDES), num_faces)):
            level = levels[int(np.abs(np.log(side / anchor_sides)).argmin())]
            cells = round(side / 2 ** int(level[1:])) + 2
            centre = rng.uniform((0, 0), sizes[level])
            masks[level][image] |= _cluster(sizes[level], centre, (cells, cells), True)
    return {level: torch.from_numpy(mask) for level, mask in masks.items()}


def impose(scores: Sequence[Tensor | None], masks: Mapping[str, Tensor]) -> list[Tensor | None]:
    """First-step logits with which exactly the masks' cells survive, with all of their anchors.

    Args:
        scores: the original logits (N, A, Hl, Wl), over the levels p2 .. p7; unchanged on levels
            without a mask.
    """
    imposed = []
    for level, logits in zip(LEVELS, scores, strict=True):
        if level in masks:
            mask = masks[level].to(logits.device)[:, None].expand_as(logits)
            logits = torch.where(mask, SURVIVES, LEAVES).to(logits.dtype)
        imposed.append(logits)
    return imposed


def surviving_cells(
    scores: Sequence[Tensor | None], levels: Sequence[str], threshold: float
) -> dict[str, Tensor]:
    """The cells of which an anchor survives the first step.

    Args:
        scores: first-step logits (N, A, Hl, Wl) over the levels p2 .. p7.
        levels: those with STC.
        threshold: theta of STC.
    """
    return {
        level: stc_keep_mask(logits, threshold).any(dim=1)
        for level, logits in zip(LEVELS, scores, strict=True)
        if level in levels
    }


def active_share(masks: Mapping[str, Tensor]) -> float:
    """The share of True among all cells of all levels and images; 0 without any level."""
    cells = sum(mask.numel() for mask in masks.values())
    return sum(int(mask.sum()) for mask in masks.values()) / max(cells, 1)


def _cluster(
    size: tuple[int, int], centre: np.ndarray, sides: tuple[int, int], is_round: bool
) -> np.ndarray:
    """A rectangle or an ellipse of cells, cut at the border: bool (Hl, Wl)."""
    y = (np.arange(size[0]) + 0.5 - centre[0]) / (sides[0] / 2)
    x = (np.arange(size[1]) + 0.5 - centre[1]) / (sides[1] / 2)
    if is_round:
        return y[:, None] ** 2 + x[None, :] ** 2 <= 1
    return (np.abs(y) <= 1)[:, None] & (np.abs(x) <= 1)[None, :]
