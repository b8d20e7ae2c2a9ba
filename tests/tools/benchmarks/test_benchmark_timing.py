"""Alternation, quartiles and paired ratios, on hand-made numbers."""

import pytest

from benchmarks import timing
from benchmarks.timing import alternate, paired_ratios, spread


class FakeClock:
    """A clock that only runs when told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def fake_clock(monkeypatch):
    fake = FakeClock()
    monkeypatch.setattr(timing.time, "perf_counter", fake)
    return fake


def test_variants_run_by_turns(fake_clock):
    order = []

    def variant(name, durations):
        remaining = iter(durations)

        def run():
            order.append(name)
            fake_clock.now += next(remaining)

        return run

    variants = {"a": variant("a", [9, 1, 2, 4]), "b": variant("b", [8, 3, 5, 7])}
    times = alternate(variants, 3, warmup=1)
    assert order == ["a", "b"] * 4
    # The first round, 9 and 8 seconds, warms up.
    assert times == {"a": [1, 2, 4], "b": [3, 5, 7]}


def test_one_run_at_least_must_count():
    with pytest.raises(ValueError, match="repeats is 0"):
        alternate({"a": lambda: None}, 0)


def test_spread():
    assert spread([3.0, 1.0, 2.0]) == (1.5, 2.0, 2.5)
    assert spread([4.0, 1.0, 2.0, 3.0]) == (1.75, 2.5, 3.25)
    assert spread([7.0]) == (7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratios_are_of_the_same_round():
    # Slow rounds are slow for both: each pair says twice, the medians alone would not.
    assert paired_ratios([1.0, 10.0, 3.0], [2.0, 20.0, 6.0]) == [2.0, 2.0, 2.0]
    with pytest.raises(ValueError, match="longer"):
        paired_ratios([1.0], [1.0, 2.0])
