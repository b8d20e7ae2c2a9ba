"""A data set with its ground truth, read once for all evaluators of a run."""

from functools import cached_property
from typing import Any

from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog

from .widerface.ap import ImageId, WiderFaceGroundTruth
from .widerface.ground_truth import load_ground_truth


class EvaluationDataset:
    """A registered data set; its annotations and .mat files are read at their first use, once.

    Attributes:
        name: its name in DatasetCatalog.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._official: dict[str | None, tuple[WiderFaceGroundTruth | None, str]] = {}

    @cached_property
    def images(self) -> dict[ImageId, dict[str, Any]]:
        """Image id -> the image's dict in detectron2's format, in the order of the data set."""
        return {image["image_id"]: image for image in DatasetCatalog.get(self.name)}

    @property
    def metadata(self) -> Metadata:
        """The data set's entry of MetadataCatalog."""
        return MetadataCatalog.get(self.name)

    def official_ground_truth(
        self, directory: str | None = None
    ) -> tuple[WiderFaceGroundTruth | None, str]:
        """The official ground truth of WIDER FACE, or None and the reason why there is none.

        There is none where a .mat file or scipy is missing, or where an image of the data set is
        not in the files.

        Args:
            directory: folder of the four .mat files; None: the metadata's ``ground_truth_dir``.

        Raises:
            GroundTruthFormatError: a file is damaged.
        """
        directory = directory or self.metadata.get("ground_truth_dir")
        if directory not in self._official:
            self._official[directory] = self._load_official(directory)
        return self._official[directory]

    def _load_official(self, directory: str | None) -> tuple[WiderFaceGroundTruth | None, str]:
        if directory is None:
            return None, "no ground_truth_dir is given"
        try:
            truth = load_ground_truth(directory)
        except (FileNotFoundError, ImportError) as error:  # no .mat files, or no scipy
            return None, str(error)
        unknown = [image_id for image_id in self.images if image_id not in truth.boxes]
        if unknown:
            reason = f"{len(unknown)} images, {unknown[0]!r} first, are not in {directory}"
            return None, reason
        return truth, ""
