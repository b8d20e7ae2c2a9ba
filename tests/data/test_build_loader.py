"""The training loader is a function of seed and draw number; the test loader is complete."""

import gc
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode
from PIL import Image
from torch.utils.data import DataLoader

from srn_d2.config import add_srn_config
from srn_d2.data import build_face_test_loader, build_face_train_loader
from srn_d2.data.build import (
    DrawSampler,
    SeededTrainingDataset,
    TooManyCorruptImagesError,
    numpy_seed,
    paused_garbage_collection,
)
from srn_d2.data.dataset_mapper import FaceDatasetMapper
from srn_d2.data.image_io import CorruptImageError
from srn_d2.engine import leave_process_group

NUM_IMAGES = 10
NO_FACE = 3  # this image has no face


@pytest.fixture
def faces(tmp_path) -> Iterator[Path]:
    """The folder of ten small images, registered as loader_faces."""
    rng = np.random.default_rng(0)
    records = []
    for i in range(NUM_IMAGES):
        pixels = rng.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        boxes = [] if i == NO_FACE else [[5, 5, 30, 30], [20, 10, 12, 12]]
        records.append(
            {
                "file_name": str(tmp_path / f"{i}.png"),
                "image_id": i,
                "annotations": [
                    {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0} for box in boxes
                ],
            }
        )
    DatasetCatalog.register("loader_faces", lambda: records)
    yield tmp_path
    DatasetCatalog.remove("loader_faces")


def make_cfg(num_workers: int = 0, batch_size: int = 4, seed: int = 5) -> CfgNode:
    cfg = get_cfg()
    add_srn_config(cfg)
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.MIN_SIZE_TEST = 0
    cfg.INPUT.FACE_CROP_SIZE = 32
    cfg.DATASETS.TRAIN = ("loader_faces",)
    cfg.DATALOADER.NUM_WORKERS = num_workers
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = False
    cfg.SOLVER.IMS_PER_BATCH = batch_size
    cfg.SEED = seed
    return cfg


def take(cfg: CfgNode, count: int, start_iter: int = 0) -> list[list[dict[str, Any]]]:
    """The first batches of a training loader."""
    return first_batches(build_face_train_loader(cfg, start_iter), count)


def first_batches(loader: DataLoader, count: int | None = None) -> list[list[dict[str, Any]]]:
    """The first batches of a loader, or all.

    An error holds the iterator. Its processes end here, for they would wait for five seconds where
    the garbage collector comes upon them.
    """
    batches = iter(loader)
    try:
        return list(itertools.islice(batches, count))
    finally:
        if hasattr(batches, "_shutdown_workers"):
            batches._shutdown_workers()


def fingerprint(sample: dict[str, Any]) -> tuple:
    """The properties that identify a sample."""
    boxes = sample["instances"].gt_boxes.tensor
    return sample["image_id"], sample["image"].numpy().tobytes(), boxes.numpy().tobytes()


def fingerprints(batches: list[list[dict[str, Any]]]) -> list[list[tuple]]:
    return [[fingerprint(sample) for sample in batch] for batch in batches]


# --- order and randomness --------------------------------------------------------------------


def test_batches_of_mapped_samples(faces):
    [batch] = take(make_cfg(), 1)
    assert len(batch) == 4
    for sample in batch:
        assert sample["image"].shape == (3, 32, 32)
        assert sample["instances"].has("gt_ignore")


def test_each_epoch_shows_every_image_once_in_a_new_order(faces):
    images = [sample["image_id"] for batch in take(make_cfg(), 10) for sample in batch]
    epochs = [images[i : i + NUM_IMAGES] for i in range(0, 40, NUM_IMAGES)]
    assert all(sorted(epoch) == list(range(NUM_IMAGES)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_an_image_is_augmented_anew_in_each_epoch(faces):
    samples = [sample for batch in take(make_cfg(), 10) for sample in batch]
    pixels = {s["image"].numpy().tobytes() for s in samples if s["image_id"] == 0}
    assert len(pixels) == 4


def test_the_seed_decides(faces):
    first = fingerprints(take(make_cfg(seed=5), 5))
    assert fingerprints(take(make_cfg(seed=5), 5)) == first
    assert fingerprints(take(make_cfg(seed=6), 5)) != first


def test_a_negative_seed_is_random(faces):
    runs = [fingerprints(take(make_cfg(seed=-1), 3)) for _ in range(2)]
    assert runs[0] != runs[1]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_number_of_data_workers_does_not_matter(faces, num_workers):
    expected = fingerprints(take(make_cfg(), 6))
    assert fingerprints(take(make_cfg(num_workers=num_workers), 6)) == expected


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resuming_continues_exactly(faces, num_workers):
    whole = fingerprints(take(make_cfg(), 8))
    for start_iter in (1, 5):
        resumed = take(make_cfg(num_workers=num_workers), 8 - start_iter, start_iter)
        assert fingerprints(resumed) == whole[start_iter:]


class Noted:
    """An object in a reference cycle that notes in which process it is collected."""

    def __init__(self, path):
        self.path, self.cycle = path, self

    def __del__(self):
        with self.path.open("a") as file:
            file.write(f"{os.getpid()}\n")


@pytest.mark.parametrize("build", [build_face_train_loader, build_face_test_loader])
def test_data_workers_leave_the_garbage_of_their_parent_alone(faces, tmp_path, monkeypatch, build):
    load = FaceDatasetMapper.__call__

    def collect_and_load(self, dataset_dict):
        gc.collect()
        return load(self, dataset_dict)

    monkeypatch.setattr(FaceDatasetMapper, "__call__", collect_and_load)
    path = tmp_path / "processes"
    names = [] if build is build_face_train_loader else ["loader_faces"]
    with paused_garbage_collection():
        Noted(path)
        first_batches(build(make_cfg(num_workers=1), *names), 2)
    gc.collect()
    assert path.read_text() == f"{os.getpid()}\n"


def test_the_global_random_states_are_left_alone(faces):
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    expected = np.random.rand(), torch.rand(1).item()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    take(make_cfg(), 3)
    assert (np.random.rand(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_numpy_seed_restores_after_an_error():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    with pytest.raises(KeyError), numpy_seed(1, 2):
        raise KeyError
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


# --- several GPUs ----------------------------------------------------------------------------


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_the_ranks_share_each_batch(world_size):
    ranks = [iter(DrawSampler(8, rank, world_size, start_iter=3)) for rank in range(world_size)]
    for iteration in range(3, 6):
        share = 8 // world_size
        draws = [draw for rank in ranks for draw in itertools.islice(rank, share)]
        assert sorted(draws) == list(range(8 * iteration, 8 * (iteration + 1)))


def run_two_ranks(folder: Path, job: Callable[[], Any]) -> list[Any]:
    """The return value of ``job`` in each of two processes that are ranks 0 and 1 over gloo."""
    context = torch.multiprocessing.get_context("fork")
    results = context.Queue()

    def run(rank: int) -> None:
        torch.set_num_threads(1)
        store = f"file://{folder}/init"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
        np.random.seed(rank)  # noqa: NPY002 -- so that the ranks would draw different seeds
        results.put((rank, job()))
        leave_process_group()

    processes = [context.Process(target=run, args=(rank,), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    try:
        by_rank = dict(results.get(timeout=60) for _ in processes)
    finally:
        for process in processes:
            process.join(timeout=10)
            process.kill()
    return [by_rank[0], by_rank[1]]


def interleave(ranks: list[list[list[tuple]]]) -> list[list[tuple]]:
    """The batches of the ranks, each merged into one in the order of the draws."""
    return [
        list(itertools.chain.from_iterable(zip(*parts, strict=True)))
        for parts in zip(*ranks, strict=True)
    ]


def test_two_ranks_together_are_one(faces):
    ranks = run_two_ranks(faces, lambda: fingerprints(take(make_cfg(), 3)))
    assert all(len(batch) == 2 for rank in ranks for batch in rank)
    assert interleave(ranks) == fingerprints(take(make_cfg(), 3))


def test_two_ranks_agree_on_a_random_seed(faces):
    """With one order of the images, ten draws of the two ranks show ten images."""
    ranks = run_two_ranks(faces, lambda: fingerprints(take(make_cfg(seed=-1), 3)))
    draws = list(itertools.chain.from_iterable(interleave(ranks)))
    assert sorted(sample[0] for sample in draws[:NUM_IMAGES]) == list(range(NUM_IMAGES))


def test_a_batch_that_cannot_be_shared_is_refused(faces):
    def error_of_a_batch_of_three() -> str:
        with pytest.raises(ValueError, match="positive multiple") as error:
            build_face_train_loader(make_cfg(batch_size=3))
        return str(error.value)

    for message in run_two_ranks(faces, error_of_a_batch_of_three):
        assert message.startswith("SOLVER.IMS_PER_BATCH is 3")
    with pytest.raises(ValueError, match=r"IMS_PER_BATCH is 0: .* positive multiple"):
        build_face_train_loader(make_cfg(batch_size=0))


# --- which images ----------------------------------------------------------------------------


def test_images_without_faces_train_unless_filtered(faces):
    cfg = make_cfg(batch_size=NUM_IMAGES)
    by_id = {sample["image_id"]: sample for sample in take(cfg, 1)[0]}
    assert len(by_id[NO_FACE]["instances"]) == 0
    cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    cfg.SOLVER.IMS_PER_BATCH = NUM_IMAGES - 1
    for batch in take(cfg, 3):
        assert sorted(s["image_id"] for s in batch) == [
            i for i in range(NUM_IMAGES) if i != NO_FACE
        ]


def test_data_sets_are_joined(faces):
    more = [{**r, "image_id": r["image_id"] + 100} for r in DatasetCatalog.get("loader_faces")[:3]]
    DatasetCatalog.register("loader_more_faces", lambda: more)
    try:
        cfg = make_cfg(batch_size=13)
        cfg.DATASETS.TRAIN = ("loader_faces", "loader_more_faces")
        [batch] = take(cfg, 1)
    finally:
        DatasetCatalog.remove("loader_more_faces")
    assert sorted(s["image_id"] for s in batch) == [*range(NUM_IMAGES), 100, 101, 102]


def with_mosaics(prob: float, num_workers: int = 0) -> CfgNode:
    cfg = make_cfg(num_workers)
    cfg.INPUT.FACE_MOSAIC_PROB = prob
    return cfg


def colours(folder: Path) -> None:
    """Paint each image in a colour of its own."""
    for i in range(NUM_IMAGES):
        Image.fromarray(np.full((40 + i, 50, 3), 20 * i + 10, np.uint8)).save(folder / f"{i}.png")


def test_mosaics_are_of_four_images_as_often_as_asked_for(faces):
    colours(faces)
    cfg = with_mosaics(0.5)
    cfg.INPUT.FACE_PHOTOMETRIC, cfg.INPUT.FACE_EXPAND_RANGE = False, (1.0, 1.0)
    samples = [sample for batch in take(cfg, 50) for sample in batch]
    shown = np.zeros(NUM_IMAGES)
    num_mosaics = 0
    for sample in samples:
        assert sample["image"].shape == (3, 32, 32)
        tiles = sample["image"][0].unfold(0, 16, 16).unfold(1, 16, 16).flatten(0, 1)
        values = [tile.unique().tolist() for tile in tiles]
        assert all(len(own) == 1 for own in values)
        images = [(own[0] - 10) // 20 for own in values]
        assert images[0] == sample["image_id"]
        num_mosaics += len(set(images)) > 1
        shown[images[1:]] += 1
    assert 75 < num_mosaics < 120  # a mosaic of one image four times is rare
    assert (shown > 0).all()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_mosaics_are_a_function_of_the_draw(faces, num_workers):
    whole = fingerprints(take(with_mosaics(0.5), 6))
    assert fingerprints(take(with_mosaics(0.5, num_workers), 4, start_iter=2)) == whole[2:]
    assert fingerprints(take(make_cfg(), 6)) != whole


def test_corrupt_images_are_replaced_in_mosaics(faces, caplog):
    colours(faces)
    damage(faces, 2, 7)
    with caplog.at_level(logging.WARNING):
        batches = fingerprints(take(with_mosaics(1.0), 5))
    assert any("2.png" in message for message in caplog.messages)
    assert fingerprints(take(with_mosaics(1.0, num_workers=2), 5)) == batches
    cfg = with_mosaics(1.0)
    cfg.INPUT.FACE_MAX_CORRUPT_IMAGES = 1
    with pytest.raises(TooManyCorruptImagesError, match=r"(?s)2\.png.*7\.png|7\.png.*2\.png"):
        take(cfg, 10)


# --- corrupt images --------------------------------------------------------------------------


def damage(folder: Path, *indices: int) -> None:
    for i in indices:
        path = folder / f"{i}.png"
        path.write_bytes(path.read_bytes()[:100])


def test_a_corrupt_image_is_named_and_replaced_the_same_way_everywhere(faces, caplog):
    whole = fingerprints(take(make_cfg(), 5))
    damage(faces, 2, 7)
    with caplog.at_level(logging.WARNING):
        batches = fingerprints(take(make_cfg(), 5))
    for i in (2, 7):
        assert sum(f"{i}.png" in message for message in caplog.messages) >= 2  # once an epoch
    for batch, batch_before in zip(batches, whole, strict=True):
        for sample, before in zip(batch, batch_before, strict=True):
            assert sample[0] not in (2, 7)
            assert sample == before or before[0] in (2, 7)
    assert fingerprints(take(make_cfg(num_workers=2), 5)) == batches
    assert fingerprints(take(make_cfg(), 3, start_iter=2)) == batches[2:]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_one_corrupt_image_too_many_stops_with_a_list(faces, num_workers):
    damage(faces, 1, 4, 8)
    cfg = make_cfg(num_workers=num_workers)
    cfg.INPUT.FACE_MAX_CORRUPT_IMAGES = 3
    take(cfg, 10)
    cfg.INPUT.FACE_MAX_CORRUPT_IMAGES = 2
    with pytest.raises(TooManyCorruptImagesError, match="FACE_MAX_CORRUPT_IMAGES") as error:
        take(cfg, 10)
    assert all(f"{i}.png" in str(error.value) for i in (1, 4, 8))


def test_no_readable_image_at_all(faces):
    damage(faces, *range(NUM_IMAGES))
    draws = SeededTrainingDataset(
        DatasetCatalog.get("loader_faces"),
        FaceDatasetMapper(make_cfg(), is_train=True),
        seed=0,
        max_corrupt_images=100,
    )
    with pytest.raises(TooManyCorruptImagesError, match="No image can be decoded"):
        draws[0]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_missing_image_is_not_skipped(faces, num_workers):
    (faces / "6.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"6\.png"):
        take(make_cfg(num_workers=num_workers), 3)


# --- testing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_test_loader_yields_each_image_once_in_order(faces, num_workers):
    batches = first_batches(build_face_test_loader(make_cfg(num_workers), "loader_faces"))
    assert [len(batch) for batch in batches] == [1] * NUM_IMAGES
    assert [batch[0]["image_id"] for batch in batches] == list(range(NUM_IMAGES))
    assert [tuple(batch[0]["image"].shape) for batch in batches] == [
        (3, 40 + i, 50) for i in range(NUM_IMAGES)
    ]
    assert "instances" not in batches[0][0]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_corrupt_test_image_raises(faces, num_workers):
    damage(faces, 5)
    with pytest.raises(CorruptImageError, match=r"5\.png"):
        first_batches(build_face_test_loader(make_cfg(num_workers), "loader_faces"))


def test_nothing_to_learn_from_is_an_error(faces):
    records = DatasetCatalog.get("loader_faces")
    bare = [{**record, "annotations": []} for record in records]
    face = records[0]["annotations"][0]
    ignored = [{**record, "annotations": [{**face, "iscrowd": 1}]} for record in records]
    contents = {"loader_nothing": [], "loader_bare": bare, "loader_ignored": ignored}
    for name, content in contents.items():
        DatasetCatalog.register(name, lambda content=content: content)
    try:
        cfg = make_cfg()
        for name in contents:
            cfg.DATASETS.TRAIN = (name,)
            is_empty = name == "loader_nothing"
            what = f"{name} has no images" if is_empty else f"there is no face in {name} "
            with pytest.raises(ValueError, match=what):
                build_face_train_loader(cfg)
        cfg.DATASETS.TRAIN = ("loader_bare", "loader_faces")  # background is added to faces
        assert len(take(cfg, 1)[0]) == 4
    finally:
        for name in contents:
            DatasetCatalog.remove(name)
