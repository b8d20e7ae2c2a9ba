"""Mapping of a dataset dict to the model's input: decoding, augmentation, choice of faces."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import detection_utils
from detectron2.data import transforms as T
from detectron2.structures import Boxes, BoxMode, Instances

from .image_io import ImageCache
from .transforms import build_face_augmentation, build_mosaic_augmentation

FACE_CLASS = 0

NUM_TILES = 4
"""Number of tiles of a mosaic."""


class FaceDatasetMapper:
    """Map a dataset dict of one image to the model's input.

    Unlike detectron2's DatasetMapper it passes the boxes to the augmentations and keeps ignore
    regions. The result has the fields of the dataset dict without "annotations", and

    - "image": uint8 tensor (3, H, W), channels in the order of INPUT.FORMAT;
    - "height", "width": size of the file's image, after EXIF orientation;
    - in training "instances": Instances of image size (H, W) with ``gt_boxes`` (Boxes, M x 4),
      ``gt_classes`` (int64, all 0) and ``gt_ignore`` (bool).
    """

    @configurable
    def __init__(
        self,
        augmentations: Sequence[T.Augmentation],
        tile_augmentations: Sequence[T.Augmentation] = (),
        *,
        is_train: bool,
        image_format: str = "RGB",
        min_face_side: float = 0.0,
        pixel_offset: float = 0.0,
        cache_bytes: int = 0,
    ):
        """
        Args:
            augmentations: applied in this order, to RGB images.
            tile_augmentations: the same for :meth:`tile`; their results are squares of one size.
            is_train: whether the result has "instances".
            image_format: "RGB" or "BGR".
            min_face_side: faces whose shorter side is below this (pixels, after augmentation)
                are ignore regions.
            pixel_offset: where in a pixel the annotated coordinates lie: 0 at its left upper
                corner, 0.5 at its centre; the same for ``gt_boxes``.
            cache_bytes: memory for decoded images.

        Raises:
            ValueError: a value is out of its range.
        """
        if not 0.0 <= pixel_offset <= 1.0:
            raise ValueError(f"INPUT.FACE_PIXEL_OFFSET is {pixel_offset}; it must be 0 to 1")
        if image_format not in ("RGB", "BGR"):
            raise ValueError(f'INPUT.FORMAT must be "RGB" or "BGR", not "{image_format}"')
        self.augmentations = T.AugmentationList(augmentations)
        self.tile_augmentations = T.AugmentationList(tile_augmentations)
        self.is_train = is_train
        self.image_format = image_format
        self.min_face_side = min_face_side
        self.pixel_offset = pixel_offset
        self.read_image = ImageCache(cache_bytes)

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        has_mosaics = is_train and cfg.INPUT.FACE_MOSAIC_PROB > 0
        return {
            "augmentations": build_face_augmentation(cfg, is_train),
            "tile_augmentations": build_mosaic_augmentation(cfg) if has_mosaics else (),
            "is_train": is_train,
            "image_format": cfg.INPUT.FORMAT,
            "min_face_side": cfg.INPUT.FACE_MIN_SIZE,
            "pixel_offset": cfg.INPUT.FACE_PIXEL_OFFSET,
            # A test set is read once: there is nothing to gain from a cache.
            "cache_bytes": cfg.INPUT.FACE_CACHE_MB * 2**20 if is_train else 0,
        }

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """
        Args:
            dataset_dict: metadata of one image in detectron2's dataset format; left as it is.

        Raises:
            FileNotFoundError, CorruptImageError: see ``read_image``.
            detectron2.data.detection_utils.SizeMismatchError: the dict's "height" and "width" are
                not the file's.
        """
        return self._map(dataset_dict, self.augmentations)

    def tile(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """The same as a tile of a mosaic, see :func:`join_tiles`."""
        return self._map(dataset_dict, self.tile_augmentations)

    def _map(
        self, dataset_dict: dict[str, Any], augmentations: T.AugmentationList
    ) -> dict[str, Any]:
        sample = {key: value for key, value in dataset_dict.items() if key != "annotations"}
        image = self.read_image(dataset_dict["file_name"])
        detection_utils.check_image_size(sample, image)  # fills in "height" and "width"

        annotations = dataset_dict.get("annotations", ()) if self.is_train else ()
        boxes, is_ignored = _annotation_boxes(annotations)
        # The augmentations' coordinates are 0 at the corner of the first pixel.
        augmented = T.AugInput(image, boxes=boxes + self.pixel_offset)
        augmentations(augmented)

        sample["image"] = self._to_tensor(augmented.image)
        if self.is_train:
            boxes = augmented.boxes - self.pixel_offset
            sample["instances"] = select_faces(
                boxes, is_ignored, augmented.image.shape[:2], self.min_face_side
            )
        return sample

    def _to_tensor(self, image: np.ndarray) -> torch.Tensor:
        if self.image_format == "BGR":
            image = image[:, :, ::-1]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))  # (3, H, W)


def join_tiles(tiles: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join four samples of one size to one of twice their height and width: a mosaic.

    Source: the mosaic of YOLOv4, Bochkovskiy et al., 2020, with tiles of equal size.

    Args:
        tiles: from :meth:`FaceDatasetMapper.tile`, row by row.

    Returns:
        a sample with the first tile's fields, and all tiles' pixels and faces.
    """
    _, height, width = tiles[0]["image"].shape
    rows = [torch.cat([tiles[i]["image"], tiles[i + 1]["image"]], dim=2) for i in (0, 2)]
    joined = Instances((2 * height, 2 * width))
    faces = [tile["instances"] for tile in tiles]
    shifts = [(x, y, x, y) for y in (0, height) for x in (0, width)]
    boxes = [
        own.gt_boxes.tensor + torch.tensor(shift, dtype=torch.float32)
        for own, shift in zip(faces, shifts, strict=True)
    ]
    joined.gt_boxes = Boxes(torch.cat(boxes))
    joined.gt_classes = torch.cat([own.gt_classes for own in faces])
    joined.gt_ignore = torch.cat([own.gt_ignore for own in faces])
    return {**tiles[0], "image": torch.cat(rows, dim=1), "instances": joined}


def _annotation_boxes(annotations: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the boxes (M, 4), XYXY float64, and the mask of ignore regions (M,)."""
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    is_ignored = [bool(a.get("ignore", False) or a.get("iscrowd", 0)) for a in annotations]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(is_ignored, dtype=bool)


def select_faces(
    boxes: np.ndarray, is_ignored: np.ndarray, image_size: tuple[int, int], min_face_side: float
) -> Instances:
    """Split the boxes of an augmented image into faces, ignore regions and dropped boxes.

    A face is kept if its centre lies in the image, clipped to the image [paper 3.5]; otherwise its
    visible part is background, as in the paper. Ignore regions are clipped to the image. A box
    without an area is dropped. A face whose shorter side is below
    ``min_face_side`` pixels becomes an ignore region.

    Args:
        boxes: (M, 4), XYXY, possibly beyond the image.
        is_ignored: (M,) bool, True for boxes annotated as ignore regions.
        image_size: height and width of the image.
        min_face_side: pixels.

    Returns:
        Instances with ``gt_boxes``, ``gt_classes`` and ``gt_ignore``.
    """
    h, w = image_size
    clipped = np.clip(boxes, 0, (w, h, w, h)).astype(np.float32)
    sides = clipped[:, 2:] - clipped[:, :2]  # (M, 2)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    is_centre_inside = np.all((centres >= 0) & (centres < (w, h)), axis=1)
    keep = np.all(sides > 0, axis=1) & (is_centre_inside | is_ignored)
    is_small = sides.min(axis=1, initial=np.inf) < min_face_side

    instances = Instances(image_size)
    instances.gt_boxes = Boxes(torch.from_numpy(clipped[keep]))
    instances.gt_classes = torch.full((int(keep.sum()),), FACE_CLASS, dtype=torch.int64)
    instances.gt_ignore = torch.from_numpy((is_ignored | is_small)[keep])
    return instances
