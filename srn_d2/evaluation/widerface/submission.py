"""A prediction folder written image by image, with resuming of interrupted runs.

The folder, ``<event>/<image>.txt`` (see :mod:`.prediction_files`), holds nothing else: common
evaluation scripts read every entry as an event or an image. So the settings of the run, which
prevent mixing detections of two detectors, are in a file beside it.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode

from srn_d2.atomic_file import atomic_path, remove_drafts
from srn_d2.detection_settings import detection_settings
from srn_d2.run_settings import require_same_settings, write_settings

from .prediction_files import PredictionFormatError, format_predictions, parse_predictions

_IMAGE_ID = re.compile(r"[^/]+/[^/]+")
# Names in the annotations that are not UTF-8 are surrogates; see read_annotation_text.
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


class NonFiniteDetectionsError(ValueError):
    """Error for detections with NaN or infinite numbers, which the format does not have."""


class SubmissionWriter:
    """Writer of the files of a submission folder, with a check for complete ones.

    A file appears under its name only when it is complete. A run with the same settings resumes
    the folder; one with other settings is refused. Only one process at a time may write to it.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        settings: Mapping[str, Any],
        *,
        integer_boxes: bool = False,
    ) -> None:
        """Create a folder, or resume one; drafts that a killed run left in it are removed.

        Args:
            folder: is made at the first :meth:`write`.
            settings: JSON values that the detections depend on; see
                :func:`submission_settings`. Kept with ``integer_boxes`` in ``<folder>.json``.
            integer_boxes: round as the released code does: whole x, y, w + 1 and h + 1, halves to
                the even number, and the score to three digits. Otherwise all numbers are exact.

        Raises:
            ValueError: the folder was created with other settings; the message names them.
            FileExistsError: the folder holds something but has no settings file.
        """
        self.folder = Path(os.path.abspath(folder))
        self.settings_file = self.folder.with_name(f"{self.folder.name}.json")
        self.integer_boxes = integer_boxes
        self._create_or_resume({**settings, "integer_boxes": integer_boxes})
        remove_drafts(self.folder)

    def is_done(self, image_id: str) -> bool:
        """True if the image's file is complete.

        A file that is cut off, longer than its count says, or of another image is not complete
        and must be written again.
        """
        try:
            text = self._path(image_id).read_text(**_ENCODING)
            _, num_unread_lines = parse_predictions(text)
        except (FileNotFoundError, PredictionFormatError):
            return False
        # The last line's end tells a whole number from the beginning of one.
        is_whole = text.endswith("\n") and num_unread_lines == 0
        return is_whole and text.startswith(f"{image_id}\n")

    def write(
        self, image_id: str, boxes: np.ndarray | torch.Tensor, scores: np.ndarray | torch.Tensor
    ) -> None:
        """Write the image's file, in place of one that is there.

        Args:
            image_id: "event/image".
            boxes: (n, 4), XYXY, pixels; a tensor must be on the CPU.
            scores: (n,).

        Raises:
            NonFiniteDetectionsError: some number is NaN or infinite.
        """
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        scores = np.asarray(scores, dtype=np.float64)
        numbers = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], scores])  # (n, 5)
        num_bad = int((~np.isfinite(numbers).all(axis=1)).sum())
        if num_bad:
            raise NonFiniteDetectionsError(
                f"{image_id}: {num_bad} of {len(numbers)} detections are NaN or infinite"
            )
        rows = numbers.tolist()
        if self.integer_boxes:
            rows = [_rounded_as_released(*row) for row in rows]
        with atomic_path(self._path(image_id)) as draft:
            draft.write_text(format_predictions(image_id, rows), newline="\n", **_ENCODING)

    def _path(self, image_id: str) -> Path:
        if not _IMAGE_ID.fullmatch(str(image_id)):
            raise ValueError(f"Image id {image_id!r} is not event/image, as in WIDER FACE's layout")
        return self.folder / f"{image_id}.txt"

    def _create_or_resume(self, settings: dict[str, Any]) -> None:
        """Write the settings file, or compare with the one that is there."""
        if self.settings_file.exists():
            remedy = "choose another folder, or remove both to start anew"
            require_same_settings(self.settings_file, settings, str(self.folder), remedy)
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise FileExistsError(
                f"{self.folder} is not empty and there is no {self.settings_file}: it is not of a "
                "run that can be resumed; choose another folder"
            )
        else:
            write_settings(self.settings_file, settings)


def submission_settings(cfg: CfgNode, dataset_name: str) -> dict[str, Any]:
    """The data set, and the ``detection_settings`` of a config.

    Raises:
        ValueError: multi-scale testing is to choose its size by the free memory, so that one part
            of the files could be of another size than the rest.
    """
    tta = cfg.TEST.SRN_TTA
    if tta.ENABLED and tta.MAX_SIZE == 0 and not tta.SCALES:
        raise ValueError(
            "TEST.SRN_TTA.MAX_SIZE is 0, which is another size with other free memory: set it to "
            "a number of pixels"
        )
    return {"dataset": dataset_name, **detection_settings(cfg)}


def _rounded_as_released(
    x: float, y: float, w: float, h: float, score: float
) -> tuple[int, int, int, int, float]:
    """A line as write_wider_result of the released tools/test.py has it, under Python 3."""
    return round(x), round(y), round(w + 1), round(h + 1), round(score, 3)
