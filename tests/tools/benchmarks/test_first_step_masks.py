"""Imposed survivors: how many, and that they lie in clusters."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.first_step_masks import (
    active_share,
    clustered_mask,
    impose,
    map_sizes,
    masks_of_faces,
    masks_of_share,
    surviving_cells,
)

STC_LEVELS = ("p2", "p3", "p4")


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_exactly_the_share_is_active(height, width, share, seed):
    mask = clustered_mask((height, width), share, np.random.default_rng(seed))
    assert mask.shape == (height, width)
    assert mask.sum() == round(share * (height * width))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none(share):
    with pytest.raises(ValueError, match="must be in"):
        clustered_mask((4, 4), share, np.random.default_rng(0))


def active_neighbours(mask):
    """Mean number of active cells among the four neighbours of an active one."""
    padded = np.pad(mask, 1).astype(int)
    around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return around[mask].mean()


@pytest.mark.parametrize("share", [0.05, 0.15])
def test_active_cells_lie_in_clusters(share):
    rng = np.random.default_rng(0)
    scattered = rng.random((192, 256)) < share
    assert active_neighbours(scattered) < 4 * 1.3 * share
    assert active_neighbours(clustered_mask((192, 256), share, rng)) > 2.8


def test_masks_of_a_batch():
    sizes = map_sizes((192, 250), STC_LEVELS)
    assert sizes == {"p2": (48, 63), "p3": (24, 32), "p4": (12, 16)}
    masks = masks_of_share(sizes, 0.15, 2, seed=1)
    assert {level: tuple(mask.shape[1:]) for level, mask in masks.items()} == sizes
    assert active_share(masks) == pytest.approx(0.15, abs=0.01)
    assert all(not torch.equal(*mask) for mask in masks.values())  # each image has its own
    again, other = (masks_of_share(sizes, 0.15, 2, seed=seed) for seed in (1, 2))
    assert all(torch.equal(masks[level], again[level]) for level in sizes)
    assert not torch.equal(masks["p2"], other["p2"])


def test_more_faces_leave_more():
    sizes = map_sizes((512, 512), STC_LEVELS)
    shares = [active_share(masks_of_faces(sizes, n, 1, seed=0)) for n in (0, 1, 10, 100, 1000)]
    assert shares[0] == 0
    assert shares == sorted(set(shares))
    assert shares[1] < 0.02
    assert shares[-1] > 0.2
    # Faces of 8 to 64 pixels belong to anchors of all three levels.
    assert all(mask.any() for mask in masks_of_faces(sizes, 100, 1, seed=0).values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("threshold", [0.5, 0.99])
def test_what_is_imposed_survives(dtype, threshold):
    sizes = map_sizes((64, 64), STC_LEVELS)
    masks = masks_of_share(sizes, 0.2, 2, seed=0)
    scores = [
        torch.randn(2, 2, *size, dtype=dtype) for size in map_sizes((64, 64), STC_LEVELS).values()
    ]
    scores += [torch.randn(2, 2, 2, 2), None, None]
    imposed = impose(scores, masks)
    cells = surviving_cells(imposed, STC_LEVELS, threshold)
    assert all(torch.equal(cells[level], masks[level]) for level in STC_LEVELS)
    assert [x.dtype for x in imposed[:3]] == [dtype] * 3
    assert imposed[3] is scores[3]  # a level without a mask, as the authors' way has them
    assert imposed[4:] == [None, None]


def test_surviving_cells_have_an_anchor_that_survives():
    scores = torch.full((1, 2, 4, 4), -20.0)
    scores[0, 1, 2, 3] = F.softplus(torch.tensor(1.0))  # one of the two anchors
    cells = surviving_cells([scores, *[None] * 5], ["p2"], 0.99)["p2"]
    assert cells.nonzero().tolist() == [[0, 2, 3]]
