"""The results of a detector, put together from its predictions and its seconds."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.timing import Spread, spread
from image_lists import ALL_IMAGES, ImageList
from srn_d2.evaluation.predictions.reports import measure_lists
from srn_d2.evaluation.widerface.face_report import (
    ALL_FACES_SETTING,
    OFFICIAL_IOU,
    PAPER_IOUS,
    FaceReport,
)

from .latency import latency_settings
from .predictions import Outcome, detection_settings, prediction_folder
from .table import Detector
from .wider_folder import WiderFolder


@dataclass(frozen=True)
class Row:
    """A row of the comparison.

    Attributes:
        name: short, for files and plots.
        title, settings: for the tables; rows of one title are one detector at several scales.
        scale: by which the sides of the images were multiplied; None: unknown.
        predictions: the folder that was evaluated.
        reports: list of images -> what was measured on it; empty: nothing could be evaluated.
        seconds: an image; None: not measured.
        problems: why something is missing.
    """

    name: str
    title: str
    settings: str
    scale: float | None = None
    predictions: Path | None = None
    reports: Mapping[str, FaceReport] = field(default_factory=dict)
    seconds: Spread | None = None
    problems: tuple[str, ...] = ()

    @property
    def report(self) -> FaceReport | None:
        """The report on all images."""
        return self.reports.get(ALL_IMAGES)

    @property
    def label(self) -> str:
        """The title, with the scale where it is not 1."""
        return self.title if self.scale in (None, 1) else f"{self.title}, scale {self.scale:g}"


def hard_ap(row: Row, images: str) -> float:
    """AP on Hard, 0 to 1, of a row that was evaluated on a list of images; NaN without a face."""
    return row.reports[images].results[ALL_FACES_SETTING][OFFICIAL_IOU].ap


def evaluate_detector(
    detector: Detector,
    wider: WiderFolder,
    lists: Sequence[ImageList],
    output: Path,
    latency: Mapping[str, Any] | None,
    outcome: Outcome | None,
) -> Row:
    """The row of a detector, from the results for its settings.

    A folder that lacks images is evaluated only if they failed in this run: the AP of an
    interrupted run would be meaningless.

    Args:
        detector: entry of the table.
        wider: images and ground truth.
        lists: of the images, the first of all.
        output: output folder of the comparison.
        latency: content of latency.json, if it is there.
        outcome: outcome of the predictions, if made in this run.
    """
    folder = prediction_folder(output, detection_settings(detector, wider.source))
    seconds, wrong = find_seconds(detector, latency)
    problems = list(outcome.problems) if outcome else []
    if wrong:
        problems.append(wrong)
    row = Row(
        detector.name, detector.title, detector.settings, detector.image_scale, seconds=seconds
    )
    num_missing = sum(not (folder / f"{image_id}.txt").is_file() for image_id in wider.images)
    if num_missing and not (outcome and outcome.is_finished):
        problems.append(
            f"{num_missing} of {len(wider.images)} images have no predictions yet with these "
            "settings and weights"
        )
    else:
        row = _with_reports(row, folder, wider, lists)
    return dataclasses.replace(row, problems=(*problems, *row.problems))


def evaluate_folder(name: str, folder: Path, wider: WiderFolder, lists: Sequence[ImageList]) -> Row:
    """The row of any folder of predictions; images without a file count as without faces."""
    return _with_reports(Row(name, name, f"predictions in {folder}"), folder, wider, lists)


def find_seconds(
    detector: Detector, latency: Mapping[str, Any] | None
) -> tuple[Spread | None, str]:
    """Seconds of a detector in latency.json, and what is wrong with them ("": nothing)."""
    entry = (latency or {"detectors": {}})["detectors"].get(detector.name)
    if entry is None:
        return None, ""
    if entry["settings"] != latency_settings(detector):
        return None, "its seconds were measured with other settings or weights: measure again"
    error = f"latency: {entry['error']}" if "error" in entry else ""
    return (spread(entry["seconds"]) if entry.get("seconds") else None), error


def _with_reports(row: Row, folder: Path, wider: WiderFolder, lists: Sequence[ImageList]) -> Row:
    image_ids = {images.name: images.image_ids for images in lists}
    try:
        reports = measure_lists(str(folder), row.name, wider.ground_truth, PAPER_IOUS, image_ids)
    except (OSError, ValueError) as error:
        return dataclasses.replace(row, problems=(str(error),))
    return dataclasses.replace(row, reports=reports, predictions=folder)
