"""FDDB's regions and the map from boxes to ellipses, against a plain restatement."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import srn_d2.evaluation.fddb.overlaps as overlaps_module
from helpers.plain_fddb import official_overlap, random_boxes
from srn_d2.data.datasets.fddb import ellipse_bounding_boxes
from srn_d2.evaluation.fddb.overlaps import FddbImage, overlap_columns, region_overlaps
from srn_d2.evaluation.fddb.regions import (
    FIXED_BOX_TO_ELLIPSE,
    BoxToEllipse,
    draw_ellipse,
    fit_box_to_ellipse,
    pixel_rectangles,
)

CANVAS = (400, 500)


def random_ellipses(rng, number):
    low, high = [1, 1, -4, -20, -20], [90, 60, 4, 520, 420]
    return rng.uniform(low, high, (number, 5))


@pytest.mark.parametrize("random_regions", [random_boxes, random_ellipses])
def test_overlaps_are_those_of_whole_masks(random_regions):
    rng = np.random.default_rng(0)
    faces, regions = random_ellipses(rng, 12), random_regions(rng, 25)
    expected = [[official_overlap(f, d, CANVAS) for d in regions] for f in faces]
    actual = region_overlaps(faces, regions, CANVAS)
    np.testing.assert_array_equal(actual, expected)
    assert 0 < np.count_nonzero(actual) < actual.size


def test_many_images_at_once_are_as_each_alone(monkeypatch):
    """Whatever the parts in which they are done; images without faces or detections among them."""
    rng = np.random.default_rng(5)
    images = []
    for i in range(30):
        regions = (random_boxes if i % 3 else random_ellipses)(rng, rng.integers(0, 9))
        size = tuple(rng.integers(50, 400, 2).tolist())
        images.append(FddbImage(random_ellipses(rng, i % 4), regions, np.zeros(0), size))
    for batch, pairs in ((500, 1 << 16), (7, 5)):
        monkeypatch.setattr(overlaps_module, "_BATCH", batch)
        monkeypatch.setattr(overlaps_module, "_MAX_PAIRS", pairs)
        for image, columns in zip(images, overlap_columns(images), strict=True):
            expected = [
                [official_overlap(f, d, image.size) for d in image.regions] for f in image.faces
            ]
            actual = np.zeros((len(image.faces), len(image.regions)))
            for detection, column in columns.items():
                assert [face for face, _ in column] == sorted(face for face, _ in column)
                for face, overlap in column:
                    actual[face, detection] = overlap
            np.testing.assert_array_equal(actual, np.reshape(expected, actual.shape))


def test_coordinates_beyond_any_image():
    face = np.array([[30.0, 20.0, 0.0, 100.0, 100.0]])
    area = draw_ellipse(face[0], CANVAS).area
    everything = np.array([[-1e300, -1e12, 1e12, 1e300]])
    assert region_overlaps(face, everything, CANVAS).item() == area / (CANVAS[0] * CANVAS[1])
    far = np.array([[30.0, 20, 1e9, 1e300, -1e300], [1e300, 1e12, 0, 100, 100]])
    assert region_overlaps(face, far, CANVAS)[0, 0] == 0


def test_overlap_by_hand():
    """A circle of radius 10 drawn around (50, 50) reaches from 40 to 60 in both directions."""
    circle = np.array([[10.0, 10.0, 0.3, 50.2, 49.8]])
    box_around = np.array([[39.6, 40.4, 60.4, 59.6]])  # columns and rows 40 to 60: 441 pixels
    mask = draw_ellipse(circle[0], CANVAS)
    assert (mask.pixels.any(axis=0).sum(), mask.pixels.any(axis=1).sum()) == (21, 21)
    assert pixel_rectangles(box_around, CANVAS).tolist() == [[40, 40, 61, 61]]
    assert region_overlaps(circle, box_around, CANVAS)[0, 0] == mask.area / 441
    right_half = np.array([[51.0, 0.0, 200.0, 400.0]])  # to column 61 of 62: nothing of it outside
    column = 21  # the circle's middle column, which is not in the box
    half = (mask.area - column) / 2
    overlap = region_overlaps(circle, right_half, (400, 62))[0, 0]
    assert overlap == half / (mask.area + 11 * 400 - half)


def test_nothing_outside_the_image_counts():
    face = np.array([[30.0, 30.0, 0.0, 0.0, 0.0]])
    box = np.array([[-500.0, -500.0, 14.0, 14.0]])  # 15 x 15 pixels are inside
    quarter = draw_ellipse(face[0], CANVAS).area
    assert region_overlaps(face, box, CANVAS)[0, 0] == 225 / quarter
    assert region_overlaps(face, box - 1000, CANVAS)[0, 0] == 0
    assert region_overlaps(face - 1000, box, CANVAS)[0, 0] == 0


def test_regions_without_area_are_drawn_one_pixel_wide():
    face = np.array([[30.0, 20.0, 0.0, 100.0, 100.0]])  # columns 70 to 130, rows 80 to 120
    area = draw_ellipse(face[0], CANVAS).area
    boxes = np.array([[90.0, 90, 90, 110], [110, 90, 90, 110], [90, 90, 110, 110]])
    inside = np.array([21, 21 * 21, 21 * 21])
    np.testing.assert_array_equal(region_overlaps(face, boxes, CANVAS)[0], inside / area)
    ellipses = np.array([[5.0, 0, 0, 100, 100], [5, -5, 0, 100, 100], [5, 5, 0, 100, 100]])
    circle = draw_ellipse(ellipses[2], CANVAS).area
    expected = np.array([11, circle, circle]) / area
    np.testing.assert_array_equal(region_overlaps(face, ellipses, CANVAS)[0], expected)


@pytest.mark.parametrize(("half", "degrees"), [(-339.5, -339), (-329.5, -329), (-324.5, -325)])
def test_half_degrees_are_rounded_as_by_the_official_program(half, degrees):
    """180 - (pi - angle) * 180 / pi, which is not exactly half here; half to even gives others."""
    center = (200, 200)
    drawn = draw_ellipse(np.array([60.0, 20, math.radians(half), *center]), CANVAS)
    expected = draw_ellipse(np.array([60.0, 20, math.radians(degrees), *center]), CANVAS)
    np.testing.assert_array_equal(drawn.pixels, expected.pixels)
    assert round(half) != degrees


radius = st.floats(5, 120)
angle = st.floats(-math.pi, math.pi)


@settings(deadline=None)
@given(radius, radius, angle)
def test_drawn_area_is_that_of_an_ellipse(major, minor, angle):
    """pi a b, up to a pixel along the edge: radii are truncated, and the edge is drawn."""
    area = draw_ellipse(np.array([major, minor, angle, 150.5, 150.5]), (301, 301)).area
    perimeter = math.pi * (
        3 * (major + minor) - math.sqrt((3 * major + minor) * (major + 3 * minor))
    )
    assert abs(area - math.pi * major * minor) <= perimeter


@settings(deadline=None)
@given(radius, radius, angle, st.integers(-40, 40), st.integers(-40, 40))
def test_overlap_of_rotated_ellipses(major, minor, angle, shift_x, shift_y):
    size, center = (700, 700), (350.0, 350.0)
    first = np.array([[major, minor, angle, *center]])
    second = np.array([[1.2 * major, 0.9 * minor, angle + 0.4, 350.0 + shift_x, 350.0 + shift_y]])
    overlap = region_overlaps(first, second, size)[0, 0]
    assert region_overlaps(first, first, size)[0, 0] == 1
    assert region_overlaps(second, first, size)[0, 0] == overlap
    moved = np.array([0, 0, 0, 12, -7])
    assert region_overlaps(first + moved, second + moved, size)[0, 0] == overlap
    # A quarter turn of everything around the first centre, and an axis named the other way round.
    turned = second.copy()
    turned[0, 2:] = angle + 0.4 + math.pi / 2, 350.0 - shift_y, 350.0 + shift_x
    quarter = np.array([0, 0, math.pi / 2, 0, 0])
    swapped = second[:, [1, 0, 2, 3, 4]] + quarter
    tolerance = 4 / min(major, minor)
    assert abs(region_overlaps(first + quarter, turned, size)[0, 0] - overlap) < tolerance
    assert abs(region_overlaps(first, swapped, size)[0, 0] - overlap) < tolerance
    assert abs(region_overlaps(first, second + 2 * quarter, size)[0, 0] - overlap) < tolerance


@settings(deadline=None)
@given(radius, radius, angle)
def test_bounding_box_touches_the_contour(major, minor, angle):
    t = np.linspace(0, 2 * math.pi, 20_000)
    x = 7 + major * np.cos(t) * math.cos(angle) - minor * np.sin(t) * math.sin(angle)
    y = 9 + major * np.cos(t) * math.sin(angle) + minor * np.sin(t) * math.cos(angle)
    box = ellipse_bounding_boxes(np.array([[major, minor, angle, 7, 9]]))[0]
    np.testing.assert_allclose(box, [x.min(), y.min(), x.max(), y.max()], atol=1e-4)


# --- the map from boxes to ellipses --------------------------------------------------------------


def test_fixed_map_by_hand():
    """20 % more height at the top: the ellipse is inscribed in (100, 176) - (200, 320)."""
    ellipse = FIXED_BOX_TO_ELLIPSE(np.array([[100.0, 200, 200, 320]]))
    np.testing.assert_allclose(ellipse, [[72, 50, math.pi / 2, 150, 248]])
    np.testing.assert_allclose(ellipse_bounding_boxes(ellipse), [[100, 176, 200, 320]])


@settings(deadline=None)
@given(
    st.builds(
        BoxToEllipse,
        vertical_radius=st.floats(0.4, 0.9),
        horizontal_radius=st.floats(0.3, 0.7),
        shift_x=st.floats(-0.2, 0.2),
        shift_y=st.floats(-0.2, 0.2),
        angle=st.floats(-1.5, 1.5),
    )
)
def test_fit_recovers_a_map(true_map):
    boxes = random_boxes(np.random.default_rng(1), 9)
    np.testing.assert_allclose(fit_box_to_ellipse(boxes, true_map(boxes)), true_map, atol=1e-9)


def test_fit_is_least_squares_of_relative_errors():
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 1000, 1000]])
    ellipses = np.array([[6.0, 5, 1.5, 5, 4], [700, 500, -1.5, 500, 480]])
    fitted = fit_box_to_ellipse(boxes, ellipses)
    np.testing.assert_allclose(fitted[:4], [0.65, 0.5, 0, -0.06], atol=1e-12)
    # 1.5 and -1.5 are 0.07 to both sides of upright, not on average horizontal.
    assert abs(fitted.angle) == pytest.approx(math.pi / 2)


def test_fit_needs_pairs():
    with pytest.raises(ValueError, match="0 boxes"):
        fit_box_to_ellipse(np.zeros((0, 4)), np.zeros((0, 5)))
