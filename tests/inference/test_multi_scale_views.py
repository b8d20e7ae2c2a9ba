"""The views of multi-scale testing: which ones there are, their pixels, and the way back."""

import math

import numpy as np
import pytest
import torch

from srn_d2.inference.test_time_augmentation import View, released_schedule

# --- the schedule: resizes, mirrored, larger side above, smaller side below ----------------------

ALL = (0.0, math.inf)
LARGE, SMALL = (30, math.inf), (0.0, 100)


@pytest.mark.parametrize(
    ("height", "width", "max_size", "wanted"),
    [
        # 2.8 times the pixels: one step of 2.25, and the rest.
        (700, 1000, 1400, [((), *ALL), ((0.5,), *LARGE), ((1.5,), *SMALL), ((1.67332,), *SMALL)]),
        # 14.36 times the pixels: three steps.
        (
            *(480, 640, 2100),
            [
                *[((), *ALL), ((0.5,), *LARGE), ((1.5,), *SMALL), ((2.25,), *SMALL)],
                *[((3.375,), *SMALL), ((3.788861,), *SMALL)],
            ],
        ),
        # Exactly one step: the released code looks twice.
        (100, 100, 150, [((), *ALL), ((0.5,), *LARGE), ((1.5,), *SMALL), ((1.5,), *SMALL)]),
        # One row of pixels less than max_size².
        (1399, 1400, 1400, [((), *ALL), ((0.5,), *LARGE), ((1.000357,), *SMALL)]),
        (1400, 1400, 1400, [((1.0,), *ALL), ((1.0, 0.75), *LARGE), ((1.0, 0.5), *LARGE)]),
        (
            3000,
            2000,
            1400,
            [((0.571548,), *ALL), ((0.571548, 0.75), *LARGE), ((0.571548, 0.5), *LARGE)],
        ),
        # Half of one row would be none.
        (1, 9, 6, [((), *ALL), ((1.5,), *SMALL), ((2.0,), *SMALL)]),
    ],
)
def test_the_schedule_is_the_released_one(height, width, max_size, wanted):
    views = released_schedule(height, width, max_size)
    plain = [view for view in views if not view.flip]
    assert len(plain) == len(wanted)
    for view, (resizes, above, below) in zip(plain, wanted, strict=True):
        assert view.resizes == pytest.approx(resizes, abs=1e-6)
        assert (view.larger_side_above, view.smaller_side_below) == (above, below)
    [mirrored] = [view for view in views if view.flip]
    assert mirrored == plain[0]._replace(flip=True)
    assert released_schedule(height, width, max_size, flip=False) == plain


def test_the_largest_view_has_max_size_squared_pixels():
    for height, width in [(333, 777), (2000, 4100), (50, 60)]:
        pixels = [math.prod(v.size(height, width)) for v in released_schedule(height, width, 1000)]
        assert max(pixels) == pytest.approx(1000**2, rel=2e-3)


def test_given_scales_replace_the_schedule():
    views = released_schedule(100, 100, 500, scales=(0.5, 2))
    assert views == [View((0.5,)), View((0.5,), True), View((2,)), View((2,), True)]
    assert released_schedule(100, 100, 500, False, (0.5, 2)) == [View((0.5,)), View((2,))]
    assert released_schedule(100, 100, 500, scales=(0.001,)) == [View()]  # nothing would be left


# --- a view and its way back ---------------------------------------------------------------------

VIEWS = [
    *(View(), View(flip=True), View((0.5,)), View((1.5,)), View((2.3,), flip=True)),
    *(View((0.77,)), View((0.9, 0.75)), View((0.9, 0.5), flip=True)),
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(61, 95), (5, 7), (40, 64)])
def test_the_size_is_that_of_the_pixels(view, size):
    image = np.zeros((*size, 3), dtype=np.uint8)
    rendered = view.render(image)
    assert rendered.shape == (*view.size(*size), 3)
    assert rendered.dtype == np.uint8


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(61, 95), (64, 40)])
def test_the_way_back_is_the_inverse_of_the_pixels_way(view, size):
    """An image whose values are its coordinates shows where each of the view's pixels is from."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    rendered = view.render(np.dstack([columns, rows]))  # (h, w, 2)
    rows, columns = np.mgrid[: rendered.shape[0], : rendered.shape[1]].astype(np.float32)
    points = np.concatenate([columns, rows, columns, rows]).reshape(4, -1).T.copy()
    if view.flip:  # a box keeps its left and right: mirrored points change places
        points[:, [0, 2]] = points[:, [2, 0]]
    back = view.to_image(torch.from_numpy(points), rendered.shape[1])[:, :2].numpy()
    inside = ((back > 1) & (back < np.array(size[::-1]) - 2)).all(axis=1)  # off the borders
    assert inside.mean() > 0.7
    np.testing.assert_allclose(back[inside], rendered.reshape(-1, 2)[inside], atol=1e-3)


def test_a_mirrored_box_keeps_its_order_of_corners():
    back = View(flip=True).to_image(torch.tensor([[0.0, 2.0, 3.0, 8.0]]), 100)
    assert back.tolist() == [[96, 2, 99, 8]]


def test_a_view_is_for_faces_of_its_sizes_counted_in_pixels():
    def box(width, height):
        return [5.0, 5.0, 5 + width - 1, 5 + height - 1]

    boxes = torch.tensor([box(30, 20), box(20, 30), box(20, 31), box(99, 400), box(100, 400)])
    reduced, enlarged = View(larger_side_above=30), View(smaller_side_below=100)
    assert reduced.counts(boxes).tolist() == [False, False, True, True, True]
    assert enlarged.counts(boxes).tolist() == [True, True, True, True, False]
    assert View().counts(boxes).all()
