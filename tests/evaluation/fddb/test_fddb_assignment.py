"""The official FDDB program's assignment: made-up matrices, and cases of the program itself."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.plain_fddb import best_assignment, plain_official_pairs
from srn_d2.evaluation.fddb.assignment import (
    GrowingAssignment,
    columns_of,
    official_assignment,
    optimal_assignment,
)


@pytest.mark.parametrize(
    ("overlaps", "official", "optimal"),
    [
        # The faces' sum, .9 + .8, is above the detections', .2 + .4 + .9: the detections choose.
        ([[0.2, 0, 0.9], [0, 0.4, 0.8]], [(0, 0), (1, 1)], [(0, 2), (1, 1)]),
        # With a second good detection it is not: face 1 takes that one.
        (
            [[0.2, 0, 0.9, 0], [0, 0.4, 0.8, 0.7]],
            [(0, 2), (1, 3)],
            [(0, 2), (1, 3)],
        ),
        # More faces than detections: faces 0 and 2 choose first, detection 1 is left to them.
        (
            [[0.7, 0.8, 0], [0, 0.01, 0], [0, 0, 0.4], [0, 0, 0.8]],
            [(0, 1), (2, 2)],
            [(0, 1), (3, 2)],
        ),
        # Detections choose, but only two pairs can be made so: face 0 gets a remaining one.
        ([[0, 0, 0.01], [0.1, 0.2, 0.8]], [(1, 2)], [(1, 2)]),
        # Of equal overlaps the first that is free; a face that overlaps nothing is left out.
        ([[0, 0, 0], [0.6, 0.6, 0.6], [0.6, 0.6, 0]], [(1, 0), (2, 1)], [(1, 0), (2, 1)]),
        ([[0, 0], [0, 0]], [], []),
    ],
)
def test_pairs_by_hand(overlaps, official, optimal):
    assert official_assignment(np.array(overlaps)) == official
    best = optimal_assignment(np.array(overlaps))
    total = sum(overlaps[f][d] for f, d in best)
    assert total == pytest.approx(sum(overlaps[f][d] for f, d in optimal))


def test_order_of_the_file_decides_between_equal_losses():
    """Two detections lose nothing with face 1: the first of the file is taken, not the better."""
    overlaps = np.array([[0.1, 0, 0, 0.5], [0, 0.15, 0.2, 0.9]])
    assert official_assignment(overlaps) == [(0, 0), (1, 1)]
    assert official_assignment(overlaps[:, [0, 2, 1, 3]]) == [(0, 0), (1, 1)]
    swapped = official_assignment(overlaps[:, [0, 2, 1, 3]])
    assert [overlaps[:, [0, 2, 1, 3]][pair] for pair in swapped] == [0.1, 0.2]


def random_overlaps(seed):
    """A sparse matrix without equal sums or losses."""
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 6, 2)
    return np.where(rng.uniform(size=shape) < 0.5, rng.uniform(size=shape), 0)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 100_000))
def test_loss_is_the_least_of_all_assignments(seed):
    overlaps = random_overlaps(seed)
    u = overlaps[overlaps.any(axis=1)][:, overlaps.any(axis=0)]
    if not u.size:
        return
    pairs = official_assignment(u)
    of_faces = u.max(axis=1).sum() < u.max(axis=0).sum()
    best = u.max(axis=1 if of_faces else 0)
    assert len({f for f, _ in pairs}) == len({d for _, d in pairs}) == len(pairs)
    if u.shape[0] <= u.shape[1] if of_faces else u.shape[0] >= u.shape[1]:
        assert sum(u[pair] for pair in pairs) == pytest.approx(sum(best_assignment(u)))
        assert sum(plain_official_pairs(u)) == pytest.approx(sum(best_assignment(u)))
    elif len(pairs) == min(u.shape):
        lost = sum(best[f if of_faces else d] - u[f, d] for f, d in pairs)
        plain = plain_official_pairs(u)
        assert lost == pytest.approx(least_loss(u, of_faces))
        assert len(plain) == len(pairs)


def least_loss(u, of_faces):
    loss = u.max(axis=1 if of_faces else 0, keepdims=True) - u
    return -sum(best_assignment((-loss).tolist()))


@settings(deadline=None)
@given(st.integers(0, 100_000), st.booleans())
def test_growing_is_the_same_as_from_scratch(seed, with_ties):
    overlaps = random_overlaps(seed)
    if with_ties:
        overlaps = np.ceil(3 * overlaps) / 4
    columns = columns_of(overlaps)
    growing = GrowingAssignment(columns, len(overlaps))
    order = np.random.default_rng(seed).permutation(list(columns)).tolist()
    before = [], []
    for k, detection in enumerate(order, start=1):
        has_changed = growing.add(detection)
        seen = overlaps[:, sorted(order[:k])]
        pairs = official_assignment(seen), optimal_assignment(seen)
        official, optimal = growing.overlaps()
        assert [value for value in official if value] == [seen[pair] for pair in pairs[0]]
        best = sum(best_assignment(seen.tolist()))
        assert sum(optimal) == pytest.approx(best)
        assert sum(seen[pair] for pair in pairs[1]) == pytest.approx(best)
        assert has_changed or before == (official, optimal)
        before = list(official), list(optimal)


def test_cases_of_the_official_program(shared_dir):
    path = shared_dir / "reference" / "fddb" / "solver_cases.json"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    for case in json.loads(path.read_text(encoding="utf-8")):
        overlaps = np.array(case["overlaps_faces_by_detections"])
        for pairs, mode in (
            (official_assignment(overlaps), "official"),
            (optimal_assignment(overlaps), "optimal"),
        ):
            expected = enumerate(case[f"{mode}_detection_of_face"])
            assert sorted(pairs) == [pair for pair in expected if overlaps[pair]]
            assert sum(overlaps[pair] for pair in pairs) == pytest.approx(case[f"{mode}_sum"])
