"""The check whether the numbers of the predictions mean something else than they are taken for.

Boxes whose corners are read as a size match no face: AP is near 0 whatever the detector. Where AP
is low, it is computed with the other readings that tools use; one that is far better is reported.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from srn_d2.evaluation.widerface.face_report import OFFICIAL_IOU, FaceReport

from .columns import OTHER_READINGS, Columns, ColumnsError
from .found import Predictions, stack, to_predictions
from .image_names import ImageId, ImageNames

# Other readings are tried below this AP, or where the numbers look like corners.
SUSPICIOUS_AP = 0.5
# A reading is far better from this difference on, and only if AP is twice as high.
AP_DIFFERENCE = 0.1
# Below this AP, boxes that no other reading explains are probably not in the images' pixels.
HARDLY_ANY_AP = 0.01
# Images that readings are compared on; the rest is not needed to tell 0 from 50 %.
NUM_IMAGES = 300

Measure = Callable[[Mapping[ImageId, np.ndarray], list[ImageId]], float]
"""AP (0 to 1) of predictions, image id -> (n, 5), on some images."""


@dataclass(frozen=True)
class BetterReading:
    """Columns that give a far higher AP.

    Attributes:
        given, better: how the numbers are read, and should be.
        given_ap, better_ap: AP of both at IoU 0.5, 0 to 1, on ``num_images`` images.
        signs: what the numbers themselves show, or "".
    """

    given: Columns
    better: Columns
    given_ap: float
    better_ap: float
    num_images: int
    signs: str

    def __str__(self) -> str:
        return (
            f"the numbers are read as {self.given}, but are most likely {self.better}: AP at IoU "
            f"0.5 is {100 * self.given_ap:.2f} as read and {100 * self.better_ap:.2f} as "
            f"{self.better} ({self.num_images} images){self.signs}; give --columns={self.better}"
        )


def better_reading(
    predictions: Predictions, images: ImageNames, ap: float, measure: Measure
) -> BetterReading | None:
    """The columns that give a far higher AP, or None.

    Args:
        predictions: as they were read.
        images: all images of the ground truth.
        ap: of ``predictions``, 0 to 1.
        measure: gives AP at IoU 0.5.
    """
    if not predictions.num_detections or not (ap < SUSPICIOUS_AP or _signs(predictions)):
        return None
    ids = [image_id for image_id, boxes in predictions.predictions.items() if len(boxes)]
    chosen = ids[:: -(-len(ids) // NUM_IMAGES)]
    given_ap = measure(predictions.predictions, chosen)
    found = predictions.found
    found = replace(found, rows={image_id: found.rows[image_id] for image_id in chosen})
    best, best_ap = None, given_ap
    for columns in OTHER_READINGS:
        if columns == predictions.columns:
            continue
        try:
            other = to_predictions(found, images, columns)
        except ColumnsError:
            continue
        if not _is_possible(other):
            continue
        other_ap = measure(other.predictions, chosen)
        if other_ap > best_ap:
            best, best_ap = columns, other_ap
    if best is None or best_ap < given_ap + AP_DIFFERENCE or best_ap < 2 * given_ap:
        return None
    signs = _signs(predictions) if "x2" in best.names else ""
    return BetterReading(predictions.columns, best, given_ap, best_ap, len(chosen), signs)


def _is_possible(predictions: Predictions) -> bool:
    """False where most boxes have no positive size."""
    return 2 * predictions.num_non_positive < predictions.num_detections


def _signs(predictions: Predictions) -> str:
    """In how many boxes the size exceeds the corner on both axes, as second corners do."""
    boxes = stack(predictions.predictions)
    share = 100 * ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])).mean()
    return f"; in {share:.0f} % of the boxes w exceeds x and h exceeds y" if share > 90 else ""


def _doubt(predictions: Predictions, ap: float) -> str:
    """A warning where hardly any detection is on a face, else ""."""
    if ap >= HARDLY_ANY_AP:
        return ""
    boxes = stack(predictions.predictions)
    width, height = np.median(boxes[:, 2:4], axis=0)
    return (
        f"hardly any detection is on a face (AP at IoU 0.5 is {100 * ap:.2f}; the median detection "
        f"is {width:.4g} x {height:.4g} pixels): boxes must be in pixels of the images as they "
        "are, not of resized ones, nor in percent"
    )


def with_checks(
    report: FaceReport, predictions: Predictions, images: ImageNames, measure: Measure
) -> FaceReport:
    """The report with the warnings of its predictions, and its main fault."""
    fault = predictions.main_fault()
    if not fault:
        ap = report.results[report.main_setting][OFFICIAL_IOU].ap
        better = better_reading(predictions, images, ap, measure)
        fault = "" if better is None else str(better)
    doubt = "" if fault else _doubt(predictions, ap)
    first = [text for text in (fault, doubt) if text]
    warnings = [*first, *predictions.warnings(images), *report.warnings]
    return replace(report, warnings=tuple(dict.fromkeys(warnings)), fault=fault)
