"""Reports of folders or files of predictions on WIDER FACE."""

from collections.abc import Mapping, Sequence

from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth, evaluate_subset
from srn_d2.evaluation.widerface.assignment import assign_detections
from srn_d2.evaluation.widerface.face_report import (
    ALL_FACES_SETTING,
    OFFICIAL_IOU,
    FaceReport,
    measure_predictions,
)

from .column_checks import with_checks
from .columns import Columns
from .image_names import ImageNames
from .image_sizes import size_reader
from .sources import read_source


def measure_folder(
    folder: str,
    name: str,
    ground_truth: WiderFaceGroundTruth,
    iou_thresholds: Sequence[float],
    images: Sequence[str],
    image_root: str | None = None,
    **options: Columns | str | int | bool | None,
) -> FaceReport:
    """The report of one folder or file of predictions, with the warnings of its files.

    Args:
        folder: the predictions.
        name: of the detector.
        ground_truth, iou_thresholds, images: see :func:`.measure_predictions`.
        image_root: folder of the images, for boxes that are fractions of their sizes.
        options: of :func:`.read_source`.

    Raises:
        OSError, ValueError: nothing can be read.
    """
    whole = {"": images}
    return measure_lists(folder, name, ground_truth, iou_thresholds, whole, image_root, **options)[
        ""
    ]


def measure_lists(
    folder: str,
    name: str,
    ground_truth: WiderFaceGroundTruth,
    iou_thresholds: Sequence[float],
    lists: Mapping[str, Sequence[str]],
    image_root: str | None = None,
    **options: Columns | str | int | bool | None,
) -> dict[str, FaceReport]:
    """The report of each of several lists of images, by the lists' names.

    The predictions are read once, as those of the first list, which holds all images of the others;
    only its report has the warnings of the files.

    Args and errors: see :func:`measure_folder`.
    """
    first, images = next(iter(lists.items()))
    names = ImageNames.of_ids(images, size_reader({i: i for i in images}, image_root))
    found = read_source(folder, names, **options)
    reports = {
        key: measure_predictions(name, found.predictions, ground_truth, iou_thresholds, chosen)
        for key, chosen in lists.items()
    }

    def measure(predictions: Mapping, chosen: list) -> float:
        assignments = assign_detections(predictions, ground_truth.boxes, (OFFICIAL_IOU,), chosen)
        return evaluate_subset(assignments, ground_truth.counted[ALL_FACES_SETTING]).ap

    reports[first] = with_checks(reports[first], found, names, measure)
    return reports
