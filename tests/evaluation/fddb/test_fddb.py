"""FDDB's regions, matching and curves, against a plain restatement of the official code."""

import itertools
import logging
import math

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from srn_d2.config import add_srn_config
from srn_d2.data.datasets.benchmarks import register_benchmarks
from srn_d2.data.datasets.fddb import ellipse_bounding_boxes
from srn_d2.evaluation import build_evaluator
from srn_d2.evaluation.fddb.evaluator import FddbEvaluator, write_curves
from srn_d2.evaluation.fddb.regions import (
    FIXED_BOX_TO_ELLIPSE,
    BoxToEllipse,
    draw_ellipse,
    fit_box_to_ellipse,
    pixel_rectangles,
    region_overlaps,
)
from srn_d2.evaluation.fddb.roc import (
    FddbCurves,
    FddbImage,
    MatchCounts,
    accumulate_curves,
    assign,
    fddb_curves,
    match_at_thresholds,
    matched_pairs,
)

CANVAS = (400, 500)


# --- the official code, restated without windows, pruning or incremental matching ----------------


def official_mask(region, size):
    """EllipseR::display and RectangleR::display on a mask of the whole image."""
    mask = np.zeros(size, np.uint8)
    point = lambda x, y: (round(float(np.float32(x))), round(float(np.float32(y))))  # noqa: E731
    if len(region) == 4:
        cv2.rectangle(mask, point(*region[:2]), point(*region[2:]), 1, cv2.FILLED)
    else:
        major, minor, angle, x, y = map(float, region)
        radii, degrees = (int(major), int(minor)), angle * 180 / math.pi
        cv2.ellipse(mask, point(x, y), radii, degrees, 0, 360, 1, cv2.FILLED)
    return mask


def official_overlap(face, detection, size):
    masks = official_mask(face, size), official_mask(detection, size)
    union = cv2.countNonZero(cv2.bitwise_or(*masks))
    return cv2.countNonZero(cv2.bitwise_and(*masks)) / union if union else 0.0


def best_assignment(overlaps):
    """The overlaps of the pairs with the greatest sum, by trying every permutation."""
    overlaps = np.asarray(overlaps)
    if overlaps.shape[0] > overlaps.shape[1]:
        overlaps = overlaps.T
    rows = np.arange(overlaps.shape[0])
    candidates = itertools.permutations(range(overlaps.shape[1]), overlaps.shape[0])
    return max((overlaps[rows, list(columns)].tolist() for columns in candidates), key=sum)


def official_curves(images):
    """{threshold: (discrete rate, continuous rate, false positives)}."""
    tables = [
        [[official_overlap(f, d, i.size) for d in i.regions] for f in i.faces] for i in images
    ]
    num_faces = sum(len(image.faces) for image in images)
    points = {}
    for threshold in {score for image in images for score in image.scores}:
        discrete = continuous = false_positives = 0
        for image, table in zip(images, tables, strict=True):
            valid = [d for d, score in enumerate(image.scores) if score >= threshold]
            pairs = best_assignment([[row[d] for d in valid] for row in table]) if table else []
            found = sum(overlap > 0.5 for overlap in pairs)
            discrete += found
            continuous += sum(pairs)
            false_positives += len(valid) - found
        points[threshold] = (discrete / num_faces, continuous / num_faces, false_positives)
    return points


# --- regions -------------------------------------------------------------------------------------


def random_ellipses(rng, number):
    low, high = [1, 1, -4, -20, -20], [90, 60, 4, 520, 420]
    return rng.uniform(low, high, (number, 5))


def random_boxes(rng, number):
    corners = rng.uniform(-30, 400, (number, 2))
    return np.hstack([corners, corners + rng.uniform(0.5, 150, (number, 2))])


@pytest.mark.parametrize("random_regions", [random_boxes, random_ellipses])
def test_overlaps_are_those_of_whole_masks(random_regions):
    rng = np.random.default_rng(0)
    faces, regions = random_ellipses(rng, 12), random_regions(rng, 25)
    expected = [[official_overlap(f, d, CANVAS) for d in regions] for f in faces]
    actual = region_overlaps(faces, regions, CANVAS)
    np.testing.assert_array_equal(actual, expected)
    assert 0 < np.count_nonzero(actual) < actual.size


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


def test_regions_without_area_overlap_nothing():
    face = np.array([[30.0, 20.0, 1.5, 100.0, 100.0]])
    boxes = np.array([[90.0, 90, 90, 110], [110, 90, 90, 110], [90, 90, 110, 110]])
    assert (region_overlaps(face, boxes, CANVAS)[0] > 0).tolist() == [False, False, True]
    ellipses = np.array([[0.0, 5, 0, 100, 100], [5, -5, 0, 100, 100], [5, 5, 0, 100, 100]])
    assert (region_overlaps(face, ellipses, CANVAS)[0] > 0).tolist() == [False, False, True]


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


# --- matching ------------------------------------------------------------------------------------


def overlap_matrices(max_side):
    side = st.integers(0, max_side)
    values = st.sampled_from([0.0, 0.0, 0.2, 0.3, 0.45, 0.5, 0.55, 0.7, 0.9])
    return st.tuples(side, side).flatmap(lambda shape: arrays(float, shape, elements=values))


@settings(deadline=None)
@given(overlap_matrices(5))
def test_assignment_is_the_optimum(overlaps):
    pairs = overlaps[assign(overlaps)]
    assert pairs.sum() == pytest.approx(sum(best_assignment(overlaps)))


@settings(deadline=None)
@given(overlap_matrices(4), st.data())
def test_counts_at_each_threshold(overlaps, data):
    num_detections = overlaps.shape[1]
    score = st.sampled_from([0.1, 0.2, 0.3, 0.4])
    scores = np.array(
        data.draw(st.lists(score, min_size=num_detections, max_size=num_detections)), dtype=float
    )
    counts = match_at_thresholds(overlaps, scores)
    assert counts.thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)
    for threshold, discrete, continuous, false_positives in zip(*counts, strict=True):
        valid = scores >= threshold
        assert continuous == pytest.approx(sum(best_assignment(overlaps[:, valid])))
        assert discrete + false_positives == valid.sum()
    assert (np.diff(counts.continuous) >= -1e-12).all()


def test_detections_are_matched_anew_at_each_threshold():
    """With both, the strong detection leaves face 0 to the weak one; above, it has face 0."""
    overlaps = np.array([[0.6, 0.58], [0.55, 0.0]])
    counts = match_at_thresholds(overlaps, np.array([0.9, 0.5]))
    np.testing.assert_allclose(counts.continuous, [0.6, 0.55 + 0.58])
    assert counts.discrete.tolist() == [1, 2]


def test_pairs_that_count_as_found():
    """The assignment is (0, 1) and (1, 0), of which 0.5 is not enough."""
    faces, detections = matched_pairs(np.array([[0.6, 0.58], [0.5, 0.0]]))
    assert (faces.tolist(), detections.tolist()) == ([0], [1])


def test_discrete_rate_may_fall_and_lie_below_the_continuous_one():
    """The greatest sum, 0.5 + 0.45, is of two pairs that are not above 0.5."""
    overlaps = np.array([[0.6, 0.5], [0.45, 0.0]])
    counts = match_at_thresholds(overlaps, np.array([0.9, 0.5]))
    assert counts.discrete.tolist() == [1, 0]
    assert counts.false_positives.tolist() == [0, 2]
    curves = accumulate_curves([counts], 2)
    assert curves.discrete[-1] < curves.continuous[-1]
    assert curves.rates_at(2) == (0.5, pytest.approx(0.475))


def test_curves_by_hand():
    """Two images with three faces; image 2 has no detection above 0.7, image 1 none at 0.7."""
    first = MatchCounts(
        np.array([0.9, 0.5]), np.array([1, 1]), np.array([0.8, 0.8]), np.array([0, 1])
    )
    second = MatchCounts(
        np.array([0.7, 0.5]), np.array([0, 1]), np.array([0.3, 0.9]), np.array([1, 1])
    )
    curves = accumulate_curves([first, second], 3)
    assert curves.thresholds.tolist() == [0.9, 0.7, 0.5]
    np.testing.assert_allclose(curves.discrete, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(curves.continuous, [0.8 / 3, 1.1 / 3, 1.7 / 3])
    assert curves.false_positives.tolist() == [0, 1, 2]
    assert curves.rates_at(0) == pytest.approx((1 / 3, 0.8 / 3))
    assert curves.rates_at(1) == pytest.approx((1 / 3, 1.1 / 3))
    assert curves.rates_at(1000) == pytest.approx((2 / 3, 1.7 / 3))


def random_images(rng, number):
    images = []
    for _ in range(number):
        size = tuple(rng.integers(60, 120, 2).tolist())
        faces = rng.uniform([8, 6, -2, 0, 0], [30, 20, 2, 100, 100], (rng.integers(0, 4), 5))
        near = ellipse_bounding_boxes(faces[rng.integers(0, len(faces), 3 * bool(len(faces)))])
        boxes = np.vstack([near + rng.normal(0, 4, near.shape), random_boxes(rng, 2) / 4])
        scores = rng.integers(1, 12, len(boxes)) / 12
        images.append(FddbImage(faces, boxes, scores, size))
    return images


@pytest.mark.parametrize("as_ellipses", [False, True])
def test_curves_are_the_official_ones(as_ellipses):
    images = random_images(np.random.default_rng(2), 25)
    if as_ellipses:
        images = [i._replace(regions=FIXED_BOX_TO_ELLIPSE(i.regions)) for i in images]
    expected = official_curves(images)
    curves = fddb_curves(images)
    assert curves.thresholds.tolist() == sorted(expected, reverse=True)
    points = np.array([expected[threshold] for threshold in curves.thresholds.tolist()])
    np.testing.assert_allclose(curves.discrete, points[:, 0], atol=1e-12)
    np.testing.assert_allclose(curves.continuous, points[:, 1], atol=1e-12)
    assert curves.false_positives.tolist() == points[:, 2].tolist()
    assert 0.2 < curves.discrete[-1] < 1
    assert (np.diff(curves.continuous) >= -1e-12).all()


def test_perfect_detections():
    images = random_images(np.random.default_rng(3), 8)
    for image in images:
        image.faces[:, 3:] %= 50  # centres inside the image
    curves = fddb_curves(
        [i._replace(regions=i.faces, scores=np.full(len(i.faces), 0.5)) for i in images]
    )
    assert curves.rates_at(0) == (1.0, 1.0)
    assert curves.num_faces > 8


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_discrete_is_above_continuous_where_every_pair_is_found(seed):
    """Each pair adds 1 to one and its overlap to the other."""
    rng = np.random.default_rng(seed)
    faces = rng.uniform([20, 15, 1, 40, 50], [30, 20, 2, 60, 60], (1, 5))
    boxes = ellipse_bounding_boxes(faces.repeat(3, axis=0)) + rng.normal(0, 2, (3, 4))
    curves = fddb_curves([FddbImage(faces, boxes, rng.uniform(size=3), (120, 120))])
    assert (curves.discrete == 1).all()
    assert (curves.discrete >= curves.continuous).all()


@pytest.mark.parametrize("num_faces", [0, 2])
def test_images_without_faces_or_detections(num_faces):
    faces = np.tile([20.0, 15, 1.5, 50, 50], (num_faces, 1))
    empty = FddbImage(faces, np.zeros((0, 4)), np.zeros(0), CANVAS)
    curves = fddb_curves([empty])
    assert len(curves.thresholds) == 0
    assert np.isnan(curves.rates_at(0)).all() if num_faces == 0 else curves.rates_at(0) == (0, 0)
    one = empty._replace(regions=np.array([[300.0, 300, 340, 350]]), scores=np.array([0.5]))
    assert fddb_curves([one]).false_positives.tolist() == [1]
    assert len(fddb_curves([]).thresholds) == 0


# --- the evaluator -------------------------------------------------------------------------------

# Face j of fold i is upright, half as wide as high, and lies this far into the picture.
FACES = [(24.0, 16.0, 1.5708, 40.0 + fold, 40.0) for fold in range(1, 11)]


@pytest.fixture
def dataset(tmp_path):
    """The ten folds, an image of one face each, in the official layout."""
    root = tmp_path / "fddb"
    (root / "FDDB-folds").mkdir(parents=True)
    for fold, face in enumerate(FACES, start=1):
        name = f"2002/08/11/big/img_{fold}"
        path = root / "originalPics" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((100, 120, 3), np.uint8))
        text = f"{name}\n1\n" + " ".join(map(str, face)) + "  1\n"
        (root / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt").write_text(text)
    register_benchmarks(tmp_path)
    yield "fddb"
    register_benchmarks()


def instances(boxes, scores):
    result = Instances((100, 120))
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    result.scores = torch.tensor(scores, dtype=torch.float32)
    result.pred_classes = torch.zeros(len(scores), dtype=torch.int64)
    return {"instances": result}


def detector_box(face):
    """What a detector would find: from the brows to the chin, 80 % of the ellipse's height."""
    major, minor, _, x, y = face
    return [x - minor, y - 0.6 * major, x + minor, y + major]


def run(evaluator, detections):
    """Evaluate {fold: (boxes, scores)} on the ten images."""
    evaluator.reset()
    for fold, (boxes, scores) in detections.items():
        inputs = [{"image_id": f"2002/08/11/big/img_{fold}", "height": 100, "width": 120}]
        evaluator.process(inputs, [instances(boxes, scores)])
    return evaluator.evaluate()


def test_evaluator(dataset, tmp_path, caplog):
    detections = {
        fold: ([detector_box(face), [80, 80, 95, 95]], [0.9, 0.1])
        for fold, face in enumerate(FACES, start=1)
    }
    cfg = get_cfg()
    add_srn_config(cfg)
    evaluator = build_evaluator(cfg, dataset, str(tmp_path / "out"))
    with caplog.at_level(logging.INFO):
        results = run(evaluator, detections)["fddb"]
    face, box = np.array(FACES[0]), np.array(detector_box(FACES[0]))
    expected = 100 * official_overlap(face, box, (100, 120))
    assert results["Disc1000"] == 100
    assert results["Cont1000"] == pytest.approx(expected)
    assert results["Cont1000_learned"] > 95 > results["Cont1000_fixed"] > results["Cont1000"] + 5
    assert not any("-" in name for name in results)
    assert "10 faces in 10 images" in caplog.text
    assert "fewer than 1000 false positives" in caplog.text
    # The curve, from the lowest score up: rate, false positives, score.
    curve = np.loadtxt(tmp_path / "out" / "fddb_box_ContROC.txt")
    np.testing.assert_allclose(curve, [[expected / 100, 10, 0.1], [expected / 100, 0, 0.9]], 1e-5)
    text = (tmp_path / "out" / "fold-03-out.txt").read_text().splitlines()
    assert text[:2] == ["2002/08/11/big/img_3", "2"]
    np.testing.assert_allclose(
        np.array(text[2].split(), float), [27, 25.6, 32, 38.4, 0.9], atol=1e-3
    )


def test_written_curves_end_at_10000_false_positives(tmp_path):
    thresholds = np.linspace(1, 0, 12_001)
    zeros = np.zeros(12_001)
    curves = FddbCurves(thresholds, np.arange(12_001), zeros, zeros, 1)
    write_curves(tmp_path, "all", curves)
    assert np.loadtxt(tmp_path / "all_DiscROC.txt")[[0, -1], 1].tolist() == [10_000, 0]


def test_learned_map_does_not_see_its_own_fold(dataset):
    """Only fold 1 is found, so that fold 1 itself has nothing to learn from."""
    results = run(FddbEvaluator(dataset), {1: ([detector_box(FACES[0])], [0.9])})["fddb"]
    assert results["Disc1000"] == 10
    assert "Disc1000_fixed" in results
    assert "Disc1000_learned" not in results


def test_bad_detections_are_named(dataset, caplog):
    good = detector_box(FACES[0])
    boxes = [good, good, [10, 10, 10, 30], [0, 0, math.inf, 5]]
    with caplog.at_level(logging.WARNING):
        results = run(FddbEvaluator(dataset), {1: (boxes, [0.5, math.nan, 0.9, 0.8])})
    assert "Image '2002/08/11/big/img_1': 2 detections with a NaN or infinite" in caplog.text
    assert "1 detections have zero or negative size" in caplog.text
    assert "9 of 10 images of fddb, '2002/08/11/big/img_2' first, were not processed" in caplog.text
    assert results["fddb"]["Disc1000"] == 10


def test_unknown_and_repeated_images(dataset):
    evaluator = FddbEvaluator(dataset)
    with pytest.raises(ValueError, match="1 image ids, '2002/08/11/big/img_99' first"):
        run(evaluator, {99: ([], [])})
    run(evaluator, {1: ([], [])})
    evaluator.process([{"image_id": "2002/08/11/big/img_1"}], [instances([], [])])
    with pytest.raises(ValueError, match="processed twice"):
        evaluator.evaluate()


def test_registration(dataset):
    assert MetadataCatalog.get(dataset).evaluator_type == "fddb"
    images = DatasetCatalog.get(dataset)
    assert [image["fold"] for image in images] == list(range(1, 11))
    assert images[4]["annotations"][0]["ellipse"] == list(FACES[4])
