"""Throughput of one data worker in training images a second, and its time by stage."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import get_detection_dataset_dicts
from detectron2.structures import BoxMode
from tqdm import tqdm

from srn_d2.atomic_file import atomic_path
from srn_d2.data import FaceDatasetMapper
from srn_d2.data.build import SeededTrainingDataset

from .stages import StageMeter, clock
from .timing import spread

DECODING, REMAINDER = "decoding", "tensors and boxes"
NUM_FILES, FACES_PER_FILE = 16, 12
JPEG_QUALITY = 90


def measure_loader(
    cfg: CfgNode, size: tuple[int, int], *, repeats: int, use_dataset: bool
) -> dict[str, Any]:
    """Make training images one after the other, on one thread.

    Args:
        cfg: the augmentation; INPUT.FACE_CROP_SIZE is the side of what comes out.
        size: height and width of synthetic files, pixels.
        repeats: ``NUM_FILES`` times so many images are made.
        use_dataset: read DATASETS.TRAIN instead of synthetic files.

    Returns:
        {"images": how many, "images_per_second": mean, "spread": quartiles of an image's seconds,
        "stages": {stage: mean seconds of an image}, "crop_size": pixels, "source"}.

    Raises:
        ValueError: for ``repeats`` below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}: some images must be made")
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        if use_dataset:
            dicts = get_detection_dataset_dicts(list(cfg.DATASETS.TRAIN), filter_empty=False)
            return {"source": ", ".join(cfg.DATASETS.TRAIN), **_measure(cfg, dicts, repeats)}
        with tempfile.TemporaryDirectory() as folder:
            dicts = write_made_up_files(Path(folder), size)
            source = f"synthetic JPEGs of {size[1]} x {size[0]} pixels"
            return {"source": source, **_measure(cfg, dicts, repeats)}
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])


def _measure(cfg: CfgNode, dicts: list[dict], repeats: int) -> dict[str, Any]:
    mapper = FaceDatasetMapper(cfg, is_train=True)
    draws = SeededTrainingDataset(
        dicts,
        mapper,
        seed=max(cfg.SEED, 0),
        max_corrupt_images=cfg.INPUT.FACE_MAX_CORRUPT_IMAGES,
    )
    meter = clock(torch.device("cpu"))
    augmentations = mapper.augmentations.augs
    augmentations[:] = [_staged(meter, augmentation) for augmentation in augmentations]
    seconds = []
    with meter.wrap((mapper, "read_image", DECODING)):
        for draw in tqdm(range(NUM_FILES * repeats), desc="loader", unit="image", disable=None):
            before = sum(meter.totals.values())
            with meter.stage(REMAINDER):
                draws[draw]
            seconds.append(sum(meter.totals.values()) - before)
    return {
        "images": len(seconds),
        "images_per_second": len(seconds) / sum(seconds),
        "spread": spread(seconds)._asdict(),
        "stages": {name: total / len(seconds) for name, total in meter.totals.items()},
        "crop_size": cfg.INPUT.FACE_CROP_SIZE,
    }


def _staged(meter: StageMeter, augmentation: Callable) -> Callable:
    """An augmentation as a stage under its class' name."""

    def call(augmented):
        with meter.stage(type(augmentation).__name__):
            return augmentation(augmented)

    return call


def write_made_up_files(folder: Path, size: tuple[int, int]) -> list[dict]:
    """JPEGs about as rich in detail as photographs, with boxes anywhere: their dataset dicts.

    Args:
        size: height and width, pixels.
    """
    rng = np.random.default_rng(0)
    height, width = size
    dicts = []
    for index in range(NUM_FILES):
        image = rng.normal(128, 6, (height, width, 3))
        for cell in (4, 16, 64, 256):  # detail of several sizes, the larger the stronger
            coarse = rng.normal(0, 4 * np.sqrt(cell), (height // cell + 2, width // cell + 2, 3))
            image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        pixels = image.clip(0, 255).astype(np.uint8)
        path = folder / f"{index}.jpg"
        with atomic_path(path) as draft:
            cv2.imwrite(str(draft), pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        annotations = [
            {"bbox": [x, y, side, 1.25 * side], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
            for x, y, side in zip(
                rng.uniform(0, 0.8 * width, FACES_PER_FILE).tolist(),
                rng.uniform(0, 0.8 * height, FACES_PER_FILE).tolist(),
                rng.uniform(8, 0.2 * min(size), FACES_PER_FILE).tolist(),
                strict=True,
            )
        ]
        dicts.append({"file_name": str(path), "image_id": index, "annotations": annotations})
    return dicts
