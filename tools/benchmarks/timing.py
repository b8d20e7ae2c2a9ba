"""Alternating time measurements: a disturbance affects neighbouring runs of all variants alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm


class Spread(NamedTuple):
    """The middle half of some values: their median between the quartiles."""

    lower: float
    median: float
    upper: float


def spread(values: Sequence[float]) -> Spread:
    """Quartiles, between neighbours linearly interpolated.

    Raises:
        ValueError: without any value.
    """
    if len(values) == 0:
        raise ValueError("there is no spread of no values")
    return Spread(*np.quantile(values, (0.25, 0.5, 0.75)).tolist())


def paired_ratios(times: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Speed-up of each run over the baseline's run of the same round.

    Args:
        times, baseline: seconds of the same rounds.
    """
    return [theirs / ours for ours, theirs in zip(times, baseline, strict=True)]


def alternate(
    variants: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warmup: int = 1,
    device: torch.device | None = None,
    description: str | None = None,
) -> dict[str, list[float]]:
    """Run the variants by turns, A B C A B C ..., and time each run.

    Args:
        variants: functions by name, called without arguments; results are discarded.
        repeats: number of timed rounds, at least 1.
        warmup: number of untimed rounds before them.
        device: CUDA device to synchronise after each run, if any.
        description: label of the progress bar; None: no bar.

    Returns:
        Seconds of each run, (repeats,) for each name.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}: at least one run must count")
    times: dict[str, list[float]] = {name: [] for name in variants}
    rounds = range(-warmup, repeats)
    total = len(rounds) * len(variants)
    is_silent = True if description is None else None  # None: if it is no terminal
    with tqdm(total=total, desc=description, unit="run", disable=is_silent) as progress:
        for round_number in rounds:
            for name, run in variants.items():
                progress.set_postfix_str(name)
                seconds = time_once(run, device)
                if round_number >= 0:
                    times[name].append(seconds)
                progress.update()
    return times


def time_once(run: Callable[[], object], device: torch.device | None = None) -> float:
    """Seconds that a call takes, with the work that it leaves to a CUDA device."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def synchronize(device: torch.device | None) -> None:
    """Wait for a CUDA device; nothing to wait for elsewhere."""
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
