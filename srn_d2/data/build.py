"""Data loaders for training and testing.

The training loader is a function of the seed and of a draw number alone. Draw ``d`` of a data set
of n images shows image ``order(epoch)[d % n]`` of epoch ``d // n``, augmented with random numbers
seeded by ``d``. Iteration i uses draws [i * B, (i + 1) * B) for a batch of B over all
GPUs. So the samples depend neither on the number of data workers nor on the number of GPUs, and a
run resumed at iteration i continues exactly as if it had never stopped.
"""

# ruff: noqa: NPY002 -- detectron2's augmentations draw from the global np.random.

import gc
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
import torch.utils.data as torchdata
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetFromList,
    build_detection_test_loader,
)
from detectron2.data.build import (
    trivial_batch_collator,
)
from detectron2.utils import comm

from .dataset_dicts import load_dataset_dicts, require_faces
from .dataset_mapper import NUM_TILES, FaceDatasetMapper, join_tiles
from .image_io import CorruptImageError

logger = logging.getLogger(__name__)

# Keep the random numbers of the epochs' order apart from those of the draws.
_ORDER_STREAM, _DRAW_STREAM = 0, 1


class TooManyCorruptImagesError(RuntimeError):
    """Error for more undecodable images than INPUT.FACE_MAX_CORRUPT_IMAGES allows."""


def build_face_train_loader(cfg: CfgNode, start_iter: int = 0) -> torchdata.DataLoader:
    """Build the endless training loader of this process (this GPU).

    All data sets of DATASETS.TRAIN are joined. Images without faces train as pure background if
    DATALOADER.FILTER_EMPTY_ANNOTATIONS is False, as in this project's configs; detectron2's
    default, True, leaves them out. With SEED below 0 all GPUs agree on a random seed: then runs
    differ, and a resumed run does not continue the order of the run before.

    Args:
        cfg: configuration with the keys of ``add_srn_config``.
        start_iter: the iteration at which training starts or resumes.

    Returns:
        A loader that yields lists of IMS_PER_BATCH / number of GPUs samples of FaceDatasetMapper.

    Raises:
        ValueError: SOLVER.IMS_PER_BATCH is not a multiple of the number of GPUs, DATASETS.TRAIN
            is empty, or one of its data sets has no images, or all have no faces.
    """
    batch_size, world_size = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if batch_size <= 0 or batch_size % world_size:
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {batch_size}: it must be a positive multiple of "
            f"the number of workers, {world_size}"
        )
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty: name a registered data set")
    with paused_garbage_collection():
        dataset_dicts = load_dataset_dicts(
            list(cfg.DATASETS.TRAIN), filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
        )
    require_faces(dataset_dicts, cfg.DATASETS.TRAIN)
    seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    dataset = SeededTrainingDataset(
        dataset_dicts,
        FaceDatasetMapper(cfg, is_train=True),
        seed=seed,
        max_corrupt_images=cfg.INPUT.FACE_MAX_CORRUPT_IMAGES,
        mosaic_prob=cfg.INPUT.FACE_MOSAIC_PROB,
        sampling_weights=folder_weights(
            [record["file_name"] for record in dataset_dicts], cfg.DATALOADER.FACE_FOLDER_BALANCE
        ),
    )
    return torchdata.DataLoader(
        dataset,
        batch_size=batch_size // world_size,
        sampler=DrawSampler(batch_size, comm.get_rank(), world_size, start_iter),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=trivial_batch_collator,
        worker_init_fn=_prepare_worker,
        # A generator of its own: making an iterator must not advance the global one.
        generator=torch.Generator().manual_seed(seed),
    )


def build_face_test_loader(cfg: CfgNode, dataset_name: str) -> torchdata.DataLoader:
    """Build a loader that yields each image of a data set once, in batches of one.

    A corrupt image raises CorruptImageError: leaving it out would change the result.
    """
    loader = build_detection_test_loader(
        load_dataset_dicts([dataset_name]),
        mapper=FaceDatasetMapper(cfg, is_train=False),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    loader.worker_init_fn = _prepare_worker  # detectron2 has no argument for it
    return loader


def _prepare_worker(worker_id: int) -> None:
    """Limit OpenCV to one thread in a data worker (torch limits its own threads).

    A forked worker also leaves the garbage of its parent alone: to free what has threads in the
    parent, such as PyAV's video frames, it would wait for them for ever.
    """
    cv2.setNumThreads(0)
    gc.freeze()


class DrawSampler(torchdata.Sampler[int]):
    """The draw numbers of one GPU, without end: of each batch every ``world_size``-th."""

    def __init__(self, batch_size: int, rank: int, world_size: int, start_iter: int = 0):
        """
        Args:
            batch_size: draws of one iteration over all GPUs, a multiple of ``world_size``.
            rank, world_size: this process and the number of processes.
            start_iter: the first iteration.
        """
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.start_iter = start_iter

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start_iter * self.batch_size + self.rank, self.world_size)


class SeededTrainingDataset(torchdata.Dataset):
    """Data set of training samples by draw number, for any number from 0 on.

    A corrupt image is logged and replaced by the next one in the epoch's order. That depends on
    the files alone, so that it happens in the same way in every worker and every run.
    """

    def __init__(
        self,
        dataset_dicts: list[dict[str, Any]],
        mapper: FaceDatasetMapper,
        *,
        seed: int,
        max_corrupt_images: int,
        mosaic_prob: float = 0.0,
        sampling_weights: np.ndarray | None = None,
    ):
        """
        Args:
            dataset_dicts: the images, in detectron2's dataset format.
            mapper: dataset dict -> sample; draws its random numbers from ``np.random``.
            seed: at least 0.
            max_corrupt_images: maximum number of distinct corrupt images in one data worker.
            mosaic_prob: probability that a sample is a mosaic of the image and three others, drawn
                at random from the epoch's.
            sampling_weights: from ``folder_weights``, (n,); None: each image once an epoch.
        """
        self.dataset = DatasetFromList(dataset_dicts, copy=False)
        self.mapper = mapper
        self.seed = seed
        self.max_corrupt_images = max_corrupt_images
        self.mosaic_prob = mosaic_prob
        self._corrupt: dict[str, str] = {}  # file name -> error
        self.sampling_weights = sampling_weights
        self._order = (-1, np.empty(0, dtype=np.int64))  # epoch, its order

    def __getitem__(self, draw: int) -> dict[str, Any]:
        epoch, position = divmod(draw, len(self.dataset))
        order = self._epoch_order(epoch)
        for index in itertools.chain(order[position:], order[:position]):
            dataset_dict = self.dataset[int(index)]
            try:
                with numpy_seed(self.seed, _DRAW_STREAM, draw):
                    if self.mosaic_prob and np.random.rand() < self.mosaic_prob:
                        return self._mosaic(dataset_dict, order)
                    return self.mapper(dataset_dict)
            except CorruptImageError as error:
                self._note_corrupt(dataset_dict["file_name"], error)
        raise TooManyCorruptImagesError(f"No image can be decoded. {self._list_corrupt()}")

    def _mosaic(self, dataset_dict: dict[str, Any], order: np.ndarray) -> dict[str, Any]:
        """A mosaic of an image and three others.

        Raises:
            CorruptImageError: the image cannot be decoded. Of the others such ones are noted and
                replaced.
        """
        tiles = [self.mapper.tile(dataset_dict)]
        while len(tiles) < NUM_TILES:
            other = self.dataset[int(np.random.choice(order))]
            try:
                tiles.append(self.mapper.tile(other))
            except CorruptImageError as error:
                self._note_corrupt(other["file_name"], error)
        return join_tiles(tiles)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        """The images of an epoch, in order, (n,)."""
        if self._order[0] != epoch:
            rng = np.random.default_rng((self.seed, _ORDER_STREAM, epoch))
            order = rng.permutation(len(self.dataset))
            if self.sampling_weights is not None:
                order = rng.permutation(systematic_sample(order, self.sampling_weights[order], rng))
            self._order = (epoch, order)
        return self._order[1]

    def _note_corrupt(self, file_name: str, error: CorruptImageError) -> None:
        """Log a corrupt image; raise TooManyCorruptImagesError if it is one too many."""
        logger.warning("Skipping a corrupt image: %s", error)
        self._corrupt[file_name] = str(error)
        if len(self._corrupt) > self.max_corrupt_images:
            raise TooManyCorruptImagesError(
                f"{len(self._corrupt)} images cannot be decoded, more than the "
                f"{self.max_corrupt_images} of INPUT.FACE_MAX_CORRUPT_IMAGES. "
                f"{self._list_corrupt()}"
            )

    def _list_corrupt(self) -> str:
        return "Restore or remove these files:\n  " + "\n  ".join(self._corrupt.values())


def folder_weights(file_names: Sequence[str], balance: float) -> np.ndarray | None:
    """Expected number of times that an epoch of n images shows each, from its folder's size.

    A folder of k images is shown in proportion to k ** (1 - balance): with 1 all folders (events
    in WIDER FACE) equally often, with 0.5 by the square root of their sizes.

    Returns:
        (n,) float64 with sum n; None for a balance of 0: each image once.

    Raises:
        ValueError: the balance is not in [0, 1].
    """
    if not 0.0 <= balance <= 1.0:
        raise ValueError(f"DATALOADER.FACE_FOLDER_BALANCE is {balance}; it must lie in [0, 1]")
    if balance == 0.0:
        return None
    folders, index = np.unique([os.path.dirname(x) for x in file_names], return_inverse=True)
    sizes = np.bincount(index, minlength=len(folders)).astype(np.float64)
    weights = sizes[index] ** -balance
    return weights * (len(weights) / weights.sum())


def systematic_sample(
    items: np.ndarray, weights: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """As many draws from ``items`` (n,) as there are items, in their order.

    Each item is drawn ``weights`` times, rounded up or down at random. ``weights`` (n,) sum to n.
    """
    ends = np.cumsum(weights) * (len(items) / weights.sum())
    positions = np.arange(len(items)) + rng.random()
    index = np.searchsorted(ends, positions, side="right")
    return items[np.minimum(index, len(items) - 1)]


@contextmanager
def paused_garbage_collection() -> Iterator[None]:
    """Pause Python's search for reference cycles while annotations are read.

    They are hundreds of thousands of small objects without cycles, which each search visits again.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def numpy_seed(*entropy: int) -> Iterator[None]:
    """Seed ``np.random`` within the context; put its state back afterwards.

    Args:
        entropy: whole numbers from 0 on; equal ones give equal random numbers.
    """
    state = np.random.get_state()
    np.random.seed(np.random.SeedSequence(entropy).generate_state(4))
    try:
        yield
    finally:
        np.random.set_state(state)
