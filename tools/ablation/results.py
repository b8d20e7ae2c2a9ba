"""The measures of all runs that are done, and their differences from the baseline."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from image_lists import ImageList
from srn_d2.evaluation.anchor_counts import AnchorCounts
from srn_d2.evaluation.evaluation_dataset import EvaluationDataset
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth
from srn_d2.evaluation.widerface.evaluator import all_faces

from .measures import IOUS, RECALLS, Measures, interval, measure_run
from .rows import BASELINE, Row
from .runs import Run

logger = logging.getLogger("ablation")


@dataclass(frozen=True)
class Difference:
    """A row minus the baseline, seed by seed.

    Attributes:
        by_seed: seed -> difference.
        mean: over the seeds.
        low, high: 95 % bootstrap interval of the mean, over images; NaN where it is unknown.
    """

    by_seed: dict[int, float]
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Results:
    """All that the tables need.

    Attributes:
        rows: rows with a run that is done, in the order of the command line.
        seeds: seeds of the command line.
        settings: settings of the ground truth: Easy, Medium and Hard, or one.
        lists: lists of images.
        measures: (list, row, seed), by names -> measures.
        anchors: (row, seed) -> anchors of the second step, where they were counted.
        missing: names of the runs that are not done.
    """

    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    settings: tuple[str, ...]
    lists: tuple[ImageList, ...]
    measures: dict[tuple[str, str, int], Measures]
    anchors: dict[tuple[str, int], AnchorCounts]
    missing: tuple[str, ...]

    def ap(self, images: str, row: str, group: str, iou: float) -> dict[int, float]:
        """Seed -> AP in %."""
        return {
            seed: float(100 * measures.ap[group][0, IOUS.index(iou)])
            for seed, measures in self._of(images, row).items()
        }

    def false_positives(self, images: str, row: str, group: str, recall: float) -> dict[int, float]:
        """Seed -> false positives at a recall; NaN where it is not reached."""
        return {
            seed: float(measures.false_positives[group][0, RECALLS.index(recall)])
            for seed, measures in self._of(images, row).items()
        }

    def ap_difference(
        self, images: str, row: str, group: str, iou: float, baseline: str = BASELINE
    ) -> Difference | None:
        """AP in points minus the baseline's; None without a seed that both have."""
        column = IOUS.index(iou)
        values = {
            seed: 100 * (own.ap[group][:, column] - other.ap[group][:, column])
            for seed, own, other in self._pairs(images, row, baseline)
        }
        return _difference(values)

    def false_positive_change(
        self, images: str, row: str, group: str, recall: float, baseline: str = BASELINE
    ) -> Difference | None:
        """Change of the false positives in % of the baseline's; None as ``ap_difference``."""
        column = RECALLS.index(recall)
        values = {}
        for seed, own, other in self._pairs(images, row, baseline):
            before = other.false_positives[group][:, column]
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = own.false_positives[group][:, column] / np.where(before > 0, before, np.nan)
            values[seed] = 100 * (ratio - 1)
        return _difference(values)

    def has(self, row: str) -> bool:
        """True if a run of the row is done."""
        return any(own.name == row for own in self.rows)

    def _of(self, images: str, row: str) -> dict[int, Measures]:
        keys = [(images, row, seed) for seed in self.seeds]
        return {key[2]: self.measures[key] for key in keys if key in self.measures}

    def _pairs(self, images: str, row: str, baseline: str) -> list[tuple[int, Measures, Measures]]:
        own, other = self._of(images, row), self._of(images, baseline)
        return [(seed, own[seed], other[seed]) for seed in own if seed in other]


def _difference(values: dict[int, np.ndarray]) -> Difference | None:
    """From seed -> (1 + B,) differences."""
    if not values:
        return None
    mean = np.mean(list(values.values()), axis=0)
    low, high = interval(mean[1:])
    return Difference({s: float(v[0]) for s, v in values.items()}, float(mean[0]), low, high)


def collect(
    runs: Sequence[Run],
    lists: Sequence[ImageList],
    truth: WiderFaceGroundTruth,
    num_resamples: int,
) -> Results:
    """Measure all runs that have been evaluated; the others are ``missing``.

    Args:
        runs: of one plan.
        lists: of images, the first of all that are evaluated, see :func:`image_lists.read_lists`.
        truth: their ground truth.
        num_resamples: bootstrap resamples of the images.
    """
    image_ids = lists[0].image_ids
    done = [run for run in runs if run.is_evaluated(image_ids)]
    measures = {}
    for number, run in enumerate(done, start=1):
        logger.info("measuring %s (%d of %d)", run.name, number, len(done))
        for images in lists:
            measures[images.name, run.row.name, run.seed] = measure_run(
                run, images, truth, num_resamples
            )
    return Results(
        rows=tuple(dict.fromkeys(run.row for run in runs if run in done)),
        seeds=tuple(dict.fromkeys(run.seed for run in runs)),
        settings=tuple(truth.counted),
        lists=tuple(lists),
        measures=measures,
        anchors={
            (run.row.name, run.seed): AnchorCounts(**json.loads(run.anchors.read_text("utf-8")))
            for run in done
            if run.anchors.is_file()
        },
        missing=tuple(run.name for run in runs if run not in done),
    )


def ground_truth_of(dataset: str) -> WiderFaceGroundTruth:
    """The official one; where there is none, all faces of the annotations in one setting."""
    evaluated = EvaluationDataset(dataset)
    truth, reason = evaluated.official_ground_truth()
    if truth is None:
        logger.warning("No Easy, Medium and Hard: all faces count. Reason: %s", reason)
        truth = all_faces(list(evaluated.images.values()))
    return truth
