"""Images for measurements."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import ImageList

from srn_d2.data import FaceDatasetMapper
from srn_d2.data.datasets.common import has_image_suffix


def synthetic_images(cfg: CfgNode, size: tuple[int, int], number: int, seed: int) -> ImageList:
    """A normalised batch of noise, padded as the model pads.

    Args:
        size: height and width in pixels.
    """
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((number, 3, *size), generator=generator).to(cfg.MODEL.DEVICE)
    return ImageList.from_tensors(list(images), cfg.MODEL.SRN.SIZE_DIVISIBILITY)


def find_images(paths: Sequence[Path], limit: int | None) -> list[Path]:
    """The images among some files and below some folders, by name.

    Args:
        limit: maximum number of images, spread evenly over all; None: all.

    Raises:
        FileNotFoundError: a path that is not there, or no image at all.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"there is no {path}")
        below = path.rglob("*") if path.is_dir() else [path]
        found += sorted(file for file in below if has_image_suffix(file.name))
    if not found:
        raise FileNotFoundError(f"no images in {', '.join(map(str, paths))}")
    if limit is None or limit >= len(found):
        return found
    return [found[i] for i in np.linspace(0, len(found) - 1, limit).round().astype(int)]


class ImageReader:
    """Read an image file as evaluation does, for :meth:`srn_d2.modeling.SRN.detect`.

    Args:
        cfg: INPUT's test sizes and format, MODEL's normalisation, padding and device are read.
    """

    def __init__(self, cfg: CfgNode):
        self.mapper = FaceDatasetMapper(cfg, is_train=False)
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.size_divisibility = cfg.MODEL.SRN.SIZE_DIVISIBILITY
        self.mean, self.std = (
            torch.tensor(cfg.MODEL[key], device=self.device).view(3, 1, 1)
            for key in ("PIXEL_MEAN", "PIXEL_STD")
        )

    def __call__(self, path: Path) -> ImageList:
        pixels = self.mapper({"file_name": str(path)})["image"].to(self.device)
        return ImageList.from_tensors([(pixels - self.mean) / self.std], self.size_divisibility)
