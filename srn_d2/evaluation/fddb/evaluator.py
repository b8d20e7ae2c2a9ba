"""FDDB as a detectron2 evaluator: true positive rates at 1,000 false positives, and ROC files."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from srn_d2.evaluation.coco.ap import ImageDetections
from srn_d2.evaluation.coco.ground_truth import ImageId
from srn_d2.evaluation.dataset_evaluator import DatasetFaceEvaluator, Results

from .overlaps import FddbImage, region_overlaps
from .regions import FIXED_BOX_TO_ELLIPSE, BoxToEllipse, fit_box_to_ellipse
from .roc import FddbCurves, Modes, fddb_curves, matched_pairs

MAX_FALSE_POSITIVES = 1000
# Published curves end at 2,000 false positives; with all low scores they would have millions.
MAX_WRITTEN_FALSE_POSITIVES = 10_000

logger = logging.getLogger(__name__)


class FddbEvaluator(DatasetFaceEvaluator):
    """True positive rates in percent at 1,000 false positives, over all folds together.

    Results are ``{"fddb": {"Disc1000": ..., "Cont1000": ..., ...}}`` for the boxes as they are, by
    the assignment of the official program, and with the suffix ``_optimal`` by the best one;
    with the suffix ``_fixed`` for boxes turned into ellipses by the fixed map, and ``_learned`` by
    a map that is fitted, for each fold, to the faces found in the other nine (left out where
    nothing is found in other folds).

    ``output_dir`` gets the curves as the official program writes them, ``fddb_box_DiscROC.txt`` and
    so on (rate, false positives and score at each threshold, up to 10,000 false positives), and
    what an evaluation without the images needs: the boxes in the format that the program reads,
    ``fold-XX-out.txt``, and the images' sizes, ``image_sizes.txt``. The results are those of the
    numbers in these files, which have nine digits.
    """

    def _evaluate(
        self,
        detections: dict[ImageId, ImageDetections],
        sizes: dict[ImageId, tuple[int, int]],
    ) -> Results:
        images = self._dataset.images
        detections = {
            image_id: as_written(found)
            for image_id, found in self._of_all_images(detections).items()
        }
        folds = {image_id: image["fold"] for image_id, image in images.items()}
        boxes = {
            # An image that was not processed has no size, and nothing is drawn in it.
            image_id: FddbImage(_faces(images[image_id]), *found, sizes.get(image_id, (0, 0)))
            for image_id, found in detections.items()
        }
        if self._output_dir:
            write_detections(self._output_dir, folds, detections)
            write_sizes(self._output_dir / "image_sizes.txt", sizes)
        results, rows = {}, []
        for name, regions in _region_variants(boxes, folds):
            curves = fddb_curves(regions)
            suffix = "" if name == "box" else f"_{name}"
            results.update(_rates(curves, suffix))
            rows += _rows(name, curves)
            if self._output_dir:
                write_curves(self._output_dir, f"fddb_{name}", curves.official)
                write_curves(self._output_dir, f"fddb_{name}_optimal", curves.optimal)
        self._log(rows, curves.official.num_faces, len(images))
        return {"fddb": results}

    def _log(self, rows: list[list], num_faces: int, num_images: int) -> None:
        headers = ["regions", "assignment", "discrete", "continuous", "all false positives"]
        table = tabulate(rows, headers, tablefmt="pipe", floatfmt=".3f")
        logger.info(
            f"FDDB's true positive rates in % at {MAX_FALSE_POSITIVES} false positives on "
            f"{self._dataset.name}: {num_faces} faces in {num_images} images\n{table}"
        )
        if rows[0][-1] < MAX_FALSE_POSITIVES:
            logger.info(
                f"The boxes have fewer than {MAX_FALSE_POSITIVES} false positives: the rates are "
                "those of all detections, and lower scores could raise them"
            )


def _rates(curves: Modes[FddbCurves], suffix: str) -> dict[str, float]:
    """The results of one kind of region."""
    results = {}
    for mode, mode_curves in curves._asdict().items():
        discrete, continuous = mode_curves.rates_at(MAX_FALSE_POSITIVES)
        end = suffix if mode == "official" else f"{suffix}_{mode}"
        results[f"Disc{MAX_FALSE_POSITIVES}{end}"] = 100 * discrete
        results[f"Cont{MAX_FALSE_POSITIVES}{end}"] = 100 * continuous
    return results


def _rows(name: str, curves: Modes[FddbCurves]) -> list[list]:
    """The table's rows of one kind of region: the modes, and optimal minus official."""
    rows = []
    for mode, mode_curves in curves._asdict().items():
        rates = [100 * rate for rate in mode_curves.rates_at(MAX_FALSE_POSITIVES)]
        rows.append([name, mode, *rates, int(mode_curves.false_positives.max(initial=0))])
    differences = np.subtract(rows[1][2:], rows[0][2:]).tolist()
    return [*rows, [name, "difference", *differences[:2], int(differences[2])]]


def learn_maps(
    boxes: dict[ImageId, FddbImage], folds: dict[ImageId, int]
) -> dict[int, BoxToEllipse] | None:
    """For each fold, the map fitted to the faces found in the other folds; None: some has none.

    Args:
        boxes: the images, their regions being boxes.
        folds: the fold of each image.
    """
    pairs = []  # fold, (n, 9) box and ellipse
    for image_id, image in boxes.items():
        has_area = (image.regions[:, 2:] > image.regions[:, :2]).all(axis=1)
        regions = image.regions[has_area]  # the map is relative to the sides
        faces, found = matched_pairs(region_overlaps(image.faces, regions, image.size))
        pairs.append((folds[image_id], np.hstack([regions[found], image.faces[faces]])))
    maps = {}
    for fold in sorted(set(folds.values())):
        others = [rows for other, rows in pairs if other != fold and len(rows)]
        if not others:
            logger.warning(f"No face is found outside fold {fold}: no map to ellipses is learned")
            return None
        rows = np.concatenate(others)
        maps[fold] = fit_box_to_ellipse(rows[:, :4], rows[:, 4:])
    return maps


def write_curves(folder: Path, prefix: str, curves: FddbCurves) -> None:
    """Write PREFIX_DiscROC.txt and PREFIX_ContROC.txt, by rising score as the official program."""
    for name, rates in (("Disc", curves.discrete), ("Cont", curves.continuous)):
        columns = np.stack([rates, curves.false_positives, curves.thresholds], axis=1)
        columns = columns[curves.false_positives <= MAX_WRITTEN_FALSE_POSITIVES][::-1]
        np.savetxt(folder / f"{prefix}_{name}ROC.txt", columns, fmt=["%.6g", "%d", "%.8g"])


def as_written(detections: ImageDetections) -> ImageDetections:
    """The detections as they are read from the file that :func:`write_detections` writes."""
    rows = [line.split() for line in _detection_lines(detections)]
    values = np.array(rows, dtype=np.float64).reshape(-1, 5)
    corners, sides = values[:, :2], values[:, 2:4]
    return ImageDetections(np.hstack([corners, corners + sides]), values[:, 4])


def write_detections(
    folder: Path, folds: dict[ImageId, int], detections: dict[ImageId, ImageDetections]
) -> None:
    """Write fold-XX-out.txt for each fold: image, count, then left top width height score.

    Numbers have nine digits, which is enough for any float32. With three decimals, the overlaps
    and so the continuous curve change in the sixth digit.
    """
    lines: dict[int, list[str]] = {fold: [] for fold in folds.values()}
    for image_id, fold in folds.items():
        found = detections[image_id]
        lines[fold] += [str(image_id), str(len(found.scores)), *_detection_lines(found)]
    for fold, text in lines.items():
        (folder / f"fold-{fold:02d}-out.txt").write_text("\n".join(text) + "\n", encoding="utf-8")


def write_sizes(path: Path, sizes: dict[ImageId, tuple[int, int]]) -> None:
    """Write a line "image width height" for each image, from (height, width) in pixels."""
    lines = [f"{image_id} {width} {height}\n" for image_id, (height, width) in sizes.items()]
    path.write_text("".join(lines), encoding="utf-8")


def _detection_lines(detections: ImageDetections) -> list[str]:
    return [
        f"{x1:.9g} {y1:.9g} {x2 - x1:.9g} {y2 - y1:.9g} {score:.9g}"
        for (x1, y1, x2, y2), score in zip(
            detections.boxes.tolist(), detections.scores.tolist(), strict=True
        )
    ]


def _faces(image: dict[str, Any]) -> np.ndarray:
    """(M, 5) ellipses."""
    return np.asarray(image["ellipses"], dtype=np.float64).reshape(-1, 5)


def _region_variants(
    boxes: dict[ImageId, FddbImage], folds: dict[ImageId, int]
) -> Iterator[tuple[str, list[FddbImage]]]:
    """Name and images of each kind of region: the boxes, and their ellipses by each map."""
    yield "box", list(boxes.values())
    maps = {"fixed": dict.fromkeys(folds.values(), FIXED_BOX_TO_ELLIPSE)}
    maps["learned"] = learn_maps(boxes, folds)
    for name, map_of_fold in maps.items():
        if map_of_fold is not None:
            yield (
                name,
                [
                    image._replace(regions=map_of_fold[folds[image_id]](image.regions))
                    for image_id, image in boxes.items()
                ],
            )
