"""FDDB's matching and curves, against a plain restatement."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.plain_fddb import best_assignment, plain_curves, random_boxes
from srn_d2.data.datasets.fddb import ellipse_bounding_boxes
from srn_d2.evaluation.fddb.assignment import columns_of, optimal_assignment
from srn_d2.evaluation.fddb.overlaps import FddbImage
from srn_d2.evaluation.fddb.regions import FIXED_BOX_TO_ELLIPSE
from srn_d2.evaluation.fddb.roc import (
    Change,
    accumulate_curves,
    fddb_curves,
    match_at_thresholds,
    matched_pairs,
)

CANVAS = (400, 500)


def curves_of(overlaps, scores):
    """Both modes' curves of one image whose faces are counted as one: sums, not rates."""
    overlaps, scores = np.array(overlaps), np.array(scores)
    changes = match_at_thresholds(columns_of(overlaps), scores, len(overlaps))
    return accumulate_curves(scores, changes, 1)


def overlap_matrices(max_side):
    side = st.integers(0, max_side)
    values = st.sampled_from([0.0, 0.0, 0.2, 0.3, 0.45, 0.5, 0.55, 0.7, 0.9])
    return st.tuples(side, side).flatmap(lambda shape: arrays(float, shape, elements=values))


@settings(deadline=None)
@given(overlap_matrices(5))
def test_assignment_is_the_optimum(overlaps):
    pairs = optimal_assignment(overlaps)
    total = sum(overlaps[pair] for pair in pairs)
    assert total == pytest.approx(sum(best_assignment(overlaps)))


@settings(deadline=None)
@given(overlap_matrices(4), st.data())
def test_counts_at_each_threshold(overlaps, data):
    num_detections = overlaps.shape[1]
    score = st.sampled_from([0.1, 0.2, 0.3, 0.4])
    scores = np.array(
        data.draw(st.lists(score, min_size=num_detections, max_size=num_detections)), dtype=float
    )
    counts = curves_of(overlaps, scores).optimal
    assert counts.thresholds.tolist() == sorted(set(scores.tolist()), reverse=True)
    for threshold, false_positives, discrete, continuous in zip(*counts[:4], strict=True):
        valid = scores >= threshold
        assert continuous == pytest.approx(sum(best_assignment(overlaps[:, valid])))
        assert discrete + false_positives == valid.sum()
    assert (np.diff(counts.continuous) >= -1e-12).all()


def test_detections_are_matched_anew_at_each_threshold():
    """With both, the strong detection leaves face 0 to the weak one; above, it has face 0."""
    counts = curves_of([[0.6, 0.58], [0.55, 0.0]], [0.9, 0.5]).optimal
    np.testing.assert_allclose(counts.continuous, [0.6, 0.55 + 0.58])
    assert counts.discrete.tolist() == [1, 2]


def test_pairs_that_count_as_found():
    """The assignment is (0, 1) and (1, 0), of which 0.5 is not enough."""
    faces, detections = matched_pairs(np.array([[0.6, 0.58], [0.5, 0.0]]))
    assert (faces.tolist(), detections.tolist()) == ([0], [1])


def test_discrete_rate_may_fall_and_lie_below_the_continuous_one():
    """The greatest sum, 0.5 + 0.45, is of two pairs that are not above 0.5."""
    curves = curves_of([[0.6, 0.5], [0.45, 0.0]], [0.9, 0.5]).optimal
    assert curves.discrete.tolist() == [1, 0]
    assert curves.false_positives.tolist() == [0, 2]
    assert curves.discrete[-1] < curves.continuous[-1]
    assert curves.rates_at(2) == (1, pytest.approx(0.95))


def test_curves_by_hand():
    """Two images with three faces; image 2 has no detection above 0.7, image 1 none at 0.7."""
    first = [Change(0.9, (1, 0.8), (1, 0.8))]
    second = [Change(0.7, (0, 0.3), (1, 0.5)), Change(0.5, (1, 0.6), (0, 0.4))]
    curves, optimal = accumulate_curves(np.array([0.9, 0.5, 0.7, 0.5]), first + second, 3)
    assert curves.thresholds.tolist() == [0.9, 0.7, 0.5]
    np.testing.assert_allclose(curves.discrete, [1 / 3, 1 / 3, 2 / 3])
    np.testing.assert_allclose(curves.continuous, [0.8 / 3, 1.1 / 3, 1.7 / 3])
    assert curves.false_positives.tolist() == [0, 1, 2]
    assert curves.rates_at(0) == pytest.approx((1 / 3, 0.8 / 3))
    assert curves.rates_at(1) == pytest.approx((1 / 3, 1.1 / 3))
    assert curves.rates_at(1000) == pytest.approx((2 / 3, 1.7 / 3))
    np.testing.assert_allclose(optimal.discrete, [1 / 3, 2 / 3, 2 / 3])
    assert optimal.false_positives.tolist() == [0, 0, 2]


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
def test_curves_are_those_of_the_plain_restatement(as_ellipses):
    images = random_images(np.random.default_rng(2), 25)
    if as_ellipses:
        images = [i._replace(regions=FIXED_BOX_TO_ELLIPSE(i.regions)) for i in images]
    expected = plain_curves(images)
    curves = fddb_curves(images).optimal
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
    ).official
    assert curves.rates_at(0) == (1.0, 1.0)
    assert curves.num_faces > 8


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_discrete_is_above_continuous_where_every_pair_is_found(seed):
    """Each pair adds 1 to one and its overlap to the other."""
    rng = np.random.default_rng(seed)
    faces = rng.uniform([20, 15, 1, 40, 50], [30, 20, 2, 60, 60], (1, 5))
    boxes = ellipse_bounding_boxes(faces.repeat(3, axis=0)) + rng.normal(0, 2, (3, 4))
    curves = fddb_curves([FddbImage(faces, boxes, rng.uniform(size=3), (120, 120))]).official
    assert (curves.discrete == 1).all()
    assert (curves.discrete >= curves.continuous).all()


@pytest.mark.parametrize("num_faces", [0, 2])
def test_images_without_faces_or_detections(num_faces):
    faces = np.tile([20.0, 15, 1.5, 50, 50], (num_faces, 1))
    empty = FddbImage(faces, np.zeros((0, 4)), np.zeros(0), CANVAS)
    curves = fddb_curves([empty]).official
    assert len(curves.thresholds) == 0
    assert np.isnan(curves.rates_at(0)).all() if num_faces == 0 else curves.rates_at(0) == (0, 0)
    one = empty._replace(regions=np.array([[300.0, 300, 340, 350]]), scores=np.array([0.5]))
    assert fddb_curves([one]).official.false_positives.tolist() == [1]
    assert len(fddb_curves([]).optimal.thresholds) == 0


def test_scores_must_be_finite():
    with pytest.raises(ValueError, match="a score is not finite"):
        curves_of(np.zeros((1, 2)), [0.5, np.nan])


def test_modes_differ_where_the_official_assignment_is_not_the_best():
    counts = curves_of([[0.2, 0.0, 0.9], [0.0, 0.4, 0.8]], [0.9, 0.8, 0.7])
    np.testing.assert_allclose(counts.official.continuous, [0.2, 0.6, 0.6])
    np.testing.assert_allclose(counts.optimal.continuous, [0.2, 0.6, 1.3])
    assert counts.official.discrete.tolist() == [0, 0, 0]
    assert counts.optimal.discrete.tolist() == [0, 0, 1]
    assert counts.official.false_positives.tolist() == [1, 2, 3]
