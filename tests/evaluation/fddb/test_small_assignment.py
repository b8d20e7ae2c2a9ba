"""The assignment problem of few rows and columns, against scipy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from srn_d2.evaluation.fddb.assignment import official_assignment, optimal_assignment
from srn_d2.evaluation.fddb.small_assignment import least_cost_assignment


def random_cost(seed, max_rows=9):
    """Costs of which some, many or none are equal, zeros among them."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, max_rows + 1)
    shape = rows, rows + rng.integers(0, 4)
    cost = rng.integers(-5, 3, shape) / 7 if seed % 2 else -rng.uniform(size=shape)
    return np.where(rng.uniform(size=shape) < 0.1 * (seed % 7), 0, cost)


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 1_000_000))
def test_columns_are_those_of_scipy(seed):
    """Of assignments that cost as much, too."""
    cost = random_cost(seed)
    assert least_cost_assignment(cost.tolist()) == linear_sum_assignment(cost)[1].tolist()


def test_no_rows():
    assert least_cost_assignment([]) == []


@pytest.mark.parametrize("seed", range(4))
def test_pairs_do_not_depend_on_which_solves_it(seed, monkeypatch):
    overlaps = np.maximum(-random_cost(seed, 30), 0)
    overlaps = overlaps if seed % 2 else overlaps.T
    small = official_assignment(overlaps), optimal_assignment(overlaps)
    monkeypatch.setattr("srn_d2.evaluation.fddb.assignment._MAX_SMALL", 0)
    assert (official_assignment(overlaps), optimal_assignment(overlaps)) == small
