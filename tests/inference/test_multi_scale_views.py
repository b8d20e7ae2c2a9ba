"""The views of multi-scale testing: which ones there are, their pixels, and the way back."""

import math

import numpy as np
import pytest

from srn_d2.inference.detections import Detections
from srn_d2.inference.test_time_augmentation import ScheduledView, released_schedule
from srn_d2.inference.views import View

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
    assert [(view.resizes, view.flip) for view in views] == [
        *[((0.5,), False), ((0.5,), True), ((2,), False), ((2,), True)]
    ]
    views = released_schedule(100, 100, 500, False, (0.5, 2))
    assert views == [ScheduledView((0.5,)), ScheduledView((2,))]
    [left] = released_schedule(100, 100, 500, scales=(0.001,))  # nothing would be left of it
    assert left == ScheduledView()


# --- a view and its way back ---------------------------------------------------------------------

VIEWS = [
    ScheduledView(resizes, flip)
    for resizes, flip in (
        *(((), False), ((), True), ((0.5,), False), ((1.5,), False), ((2.3,), True)),
        *(((0.77,), False), ((0.9, 0.75), False), ((0.9, 0.5), True)),
    )
]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(61, 95), (5, 7), (40, 64)])
def test_the_size_is_that_of_the_pixels(view, size):
    image = np.zeros((*size, 3), dtype=np.uint8)
    rendered = view.render(image)
    assert rendered.pixels.shape == (*view.size(*size), 3)
    assert rendered.pixels.dtype == np.uint8
    assert rendered.image_size == size


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size", [(61, 95), (64, 40)])
def test_the_way_back_is_the_inverse_of_the_pixels_way(view, size):
    """An image whose values are its coordinates shows where each of the view's pixels is from."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    rendered = view.render(np.dstack([columns, rows]))  # (h, w, 2)
    seen = rendered.pixels
    rows, columns = np.mgrid[: seen.shape[0], : seen.shape[1]].astype(np.float32)
    points = np.concatenate([columns, rows, columns, rows]).reshape(4, -1).T.copy()
    if view.flip:  # a box keeps its left and right: mirrored points change places
        points[:, [0, 2]] = points[:, [2, 0]]
    back = rendered.to_image(points)[:, :2]
    inside = ((back > 1) & (back < np.array(size[::-1]) - 2)).all(axis=1)  # off the borders
    assert inside.mean() > 0.7
    np.testing.assert_allclose(back[inside], seen.reshape(-1, 2)[inside], atol=1e-3)


def released_view(**options):
    """Of an image of 100 x 100 pixels."""
    return ScheduledView(**options).render(np.zeros((100, 100, 3), dtype=np.uint8))


BOX = np.array([[0.0, 2.0, 3.0, 8.0]], dtype=np.float32)


def test_a_mirrored_box_keeps_its_order_of_corners():
    assert released_view(flip=True).to_image(BOX).tolist() == [[96, 2, 99, 8]]


def test_by_edges_each_side_has_the_ratio_of_the_sizes():
    view = View(np.zeros((50, 200, 3), dtype=np.uint8), (100, 100))
    assert view.to_image(BOX).tolist() == [[0, 4, 1.5, 16]]


def test_a_view_is_for_faces_of_its_sizes_counted_in_pixels():
    def box(width, height):
        return [5.0, 5.0, 5 + width - 1, 5 + height - 1]

    boxes = np.array([box(30, 20), box(20, 30), box(20, 31), box(99, 400), box(100, 400)])
    reduced, enlarged = released_view(larger_side_above=30), released_view(smaller_side_below=100)
    assert reduced.counts(boxes).tolist() == [False, False, True, True, True]
    assert enlarged.counts(boxes).tolist() == [True, True, True, True, False]
    assert released_view().counts(boxes).all()


def test_by_edges_sizes_are_roots_of_areas():
    pixels = np.zeros((100, 100, 3), dtype=np.uint8)
    boxes = np.array([[0.0, 0.0, 20.0, 45.0], [0.0, 0.0, 20.0, 44.9]], dtype=np.float32)
    found = Detections.of_faces(boxes, np.array([0.5, 0.4], dtype=np.float32))
    kept = View(pixels, (100, 100), min_size=30.0).in_image(found)
    assert (kept.boxes.tolist(), kept.labels.tolist()) == ([[0, 0, 20, 45]], [0])
