"""Results and times of a graph in several runtimes, as differences and ratios from one of them."""

import contextlib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from srn_d2.inference.detection_matching import compare_detections

from .process import REFERENCE, Outputs, Runtime, RuntimeFailure, RuntimeProcess

SCORE_FLOOR = 0.02
"""Boxes of anchors with a lower score are not compared."""
NUM_WARM_UPS = 3
"""Runs of each input before those that count: a runtime prepares itself for a size, and Node
compiles the functions that take long once more."""

# Detections of NMS are partners up to here.
_MATCH_PIXELS = 8.0
_MATCH_SCORE = 0.1


@dataclass(frozen=True)
class Input:
    """A batch of pictures.

    Attributes:
        name: for messages.
        images: uint8 (N, 3, H, W), RGB.
        is_timed: whether its time is measured.
    """

    name: str
    images: np.ndarray
    is_timed: bool = True


@dataclass(frozen=True)
class Difference:
    """Differences from the reference.

    Attributes:
        score: largest difference of a score.
        box: largest difference of a coordinate, in pixels, of boxes with a score over
            ``SCORE_FLOOR``.
        num_alone: number of detections of NMS that only one of the two has.
        num_detections: number of detections of NMS of both.
    """

    score: float = 0.0
    box: float = 0.0
    num_alone: int = 0
    num_detections: int = 0

    def __or__(self, other: "Difference") -> "Difference":
        """The two as one: larger differences, all detections."""
        return Difference(
            max(self.score, other.score),
            max(self.box, other.box),
            self.num_alone + other.num_alone,
            self.num_detections + other.num_detections,
        )


@dataclass
class Row:
    """What was found of one runtime.

    Attributes:
        title: its name.
        version: "" if it did not start.
        problem: why it does not run; None: it does.
        difference: the largest over all inputs.
        ratios: for each timed input the median of its processor time as a ratio to the reference's
            in the same round.
    """

    title: str
    version: str = ""
    problem: str | None = None
    difference: Difference = field(default_factory=Difference)
    ratios: list[float] = field(default_factory=list)


def measure(
    model: Path, runtimes: Mapping[str, Runtime], inputs: Sequence[Input], repeats: int
) -> dict[str, Row]:
    """Run a graph in all runtimes, which take turns.

    Args:
        model: an ONNX file of ``srn-d2 export``, with NMS or without.
        runtimes: by name, the reference among them.
        inputs: run in this order.
        repeats: number of rounds that are timed.

    Returns:
        rows by the runtimes' names.

    Raises:
        RuntimeFailure: the reference is not installed, or cannot load or run the graph.
    """
    rows = {name: Row(runtime.title) for name, runtime in runtimes.items()}
    with contextlib.ExitStack() as stack:
        running: dict[str, RuntimeProcess] = {}
        for name in sorted(runtimes, key=lambda name: name != REFERENCE):  # the reference first
            if not runtimes[name].is_installed:
                rows[name].problem = f"not installed: `{runtimes[name].install}`"
                continue
            try:
                running[name] = stack.enter_context(RuntimeProcess(runtimes[name], model))
                rows[name].version = running[name].version
            except RuntimeFailure as error:
                rows[name].problem = f"does not load it: {error}"
        for item in inputs:
            _run_alternately(item, running, rows, repeats)
    return rows


def _run_alternately(
    item: Input, running: dict[str, RuntimeProcess], rows: Mapping[str, Row], repeats: int
) -> None:
    """Run one input in all runtimes; those that fail are removed from ``running``."""
    if REFERENCE not in running:
        raise RuntimeFailure(f"{rows[REFERENCE].title}: {rows[REFERENCE].problem}")
    seconds: dict[str, list[float]] = {name: [] for name in running}
    num_warm_ups = NUM_WARM_UPS if item.is_timed else 0
    for turn in range(num_warm_ups + (repeats if item.is_timed else 1)):
        found: dict[str, Outputs] = {}
        for name in list(running):
            try:
                found[name], spent = running[name].run(item.images)
                seconds[name].append(spent)
                if turn == 0:
                    rows[name].difference |= compare(
                        found[REFERENCE], found[name], len(item.images)
                    )
            except (RuntimeFailure, ValueError) as error:
                if name == REFERENCE:
                    raise RuntimeFailure(f"{rows[name].title}, {item.name}: {error}") from error
                rows[name].problem = f"fails on {item.name}: {error}"
                del running[name]
    if item.is_timed:
        for name in running:
            rounds = zip(seconds[name], seconds[REFERENCE], strict=True)
            ratios = [spent / reference for spent, reference in list(rounds)[num_warm_ups:]]
            rows[name].ratios.append(statistics.median(ratios))


def compare(expected: Outputs, found: Outputs, num_images: int) -> Difference:
    """Differences of a graph's outputs.

    Args:
        expected, found: boxes and scores of all anchors; or those of NMS, with image_index.

    Raises:
        ValueError: other outputs, or of other shapes or types.
    """
    if expected.keys() != found.keys():
        raise ValueError(f"outputs {sorted(found)} instead of {sorted(expected)}")
    if not {"boxes", "scores"} <= expected.keys():
        raise ValueError(f"outputs {sorted(expected)}: not a file of srn-d2 export")
    if "image_index" in expected:
        return _compare_detections(expected, found, num_images)
    for name in expected:
        if expected[name].shape != found[name].shape:
            raise ValueError(f"{name} {found[name].shape} instead of {expected[name].shape}")
    counts = expected["scores"] > SCORE_FLOOR
    return Difference(
        _largest(found["scores"] - expected["scores"]),
        _largest((found["boxes"] - expected["boxes"])[counts]),
    )


def _largest(differences: np.ndarray) -> float:
    """Largest absolute value; infinity if one is not a number."""
    return float(np.nan_to_num(np.abs(differences), nan=np.inf).max(initial=0.0))


def _compare_detections(expected: Outputs, found: Outputs, num_images: int) -> Difference:
    total = Difference()
    for image in range(num_images):
        # An empty output may have lost its other dimension.
        sets = [
            (x["boxes"].reshape(-1, 4)[chosen], x["scores"][chosen])
            for x in (expected, found)
            for chosen in [x["image_index"] == image]
        ]
        matched = compare_detections(
            *sets, box_tolerance=_MATCH_PIXELS, score_tolerance=_MATCH_SCORE
        )
        total |= Difference(
            matched.score_difference,
            matched.box_difference,
            len(matched.missing) + len(matched.surplus),
            matched.num_expected + matched.num_found,
        )
    return total
