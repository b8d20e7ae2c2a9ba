"""Faces that count after augmentation, and the input of the model."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data.detection_utils import SizeMismatchError
from detectron2.structures import Boxes, BoxMode, Instances
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from srn_d2.config import add_srn_config
from srn_d2.data.build import numpy_seed
from srn_d2.data.dataset_mapper import FaceDatasetMapper, join_tiles, select_faces
from srn_d2.data.image_io import EXIF_ORIENTATION, CorruptImageError


def make_cfg(**keys: Any) -> CfgNode:
    """A config with a small crop; further keys of INPUT by name."""
    cfg = get_cfg()
    add_srn_config(cfg)
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.FACE_CROP_SIZE = 64
    cfg.INPUT.MIN_SIZE_TEST = 0
    for key, value in keys.items():
        cfg.INPUT[key] = value
    return cfg


def as_is(**keys: Any) -> CfgNode:
    """A config whose training augmentation only resizes a square image, or flips it."""
    return make_cfg(
        FACE_PHOTOMETRIC=False, FACE_EXPAND_RANGE=(1.0, 1.0), FACE_FULL_PATCH_PROB=1.0, **keys
    )


def write_image(folder: Path, pixels: np.ndarray, name: str = "a.png") -> str:
    Image.fromarray(pixels).save(folder / name)
    return str(folder / name)


def record(file_name: str, *boxes_xywh: list[float], **extra: Any) -> dict[str, Any]:
    annotations = [
        {"bbox": list(box), "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0} for box in boxes_xywh
    ]
    return {"file_name": file_name, "image_id": "a", "annotations": annotations, **extra}


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


# --- select_faces ----------------------------------------------------------------------------


def select(
    boxes: list[list[float]], ignored: list[bool] | None = None, min_face_side: float = 0.0
) -> tuple[list, list]:
    is_ignored = np.array(ignored if ignored is not None else [False] * len(boxes))
    instances = select_faces(np.array(boxes, dtype=float), is_ignored, (50, 100), min_face_side)
    assert instances.image_size == (50, 100)
    assert instances.gt_classes.tolist() == [0] * len(instances)
    assert instances.gt_classes.dtype == torch.int64
    return instances.gt_boxes.tensor.tolist(), instances.gt_ignore.tolist()


def test_a_face_stays_if_its_centre_is_inside_and_is_clipped():
    boxes, ignored = select(
        [
            [10, 10, 20, 20],
            [-9, 10, 11, 20],  # centre at x = 1
            [-11, 10, 9, 20],  # centre at x = -1
            [90, 45, 109, 54],  # centre at (99.5, 49.5)
            [91, 45, 111, 54],  # centre at x = 101
            [20, 46, 30, 56],  # centre at y = 51
            [-50, -50, 250, 150],  # larger than the image, centre at (100, 50)
            [-50, -50, 240, 140],  # the same, centre at (95, 45)
        ]
    )
    assert boxes == [[10, 10, 20, 20], [0, 10, 11, 20], [90, 45, 100, 50], [0, 0, 100, 50]]
    assert ignored == [False] * 4


def test_an_ignore_region_stays_as_far_as_it_overlaps():
    boxes, ignored = select([[-30, 10, 4, 20], [-30, 10, 0, 20]], ignored=[True, True])
    assert boxes == [[0, 10, 4, 20]]
    assert ignored == [True]


def test_a_box_without_area_is_dropped():
    assert select([[5, 5, 5, 9], [5, 5, 9, 5], [9, 9, 5, 5]], [False, False, True]) == ([], [])


def test_a_small_face_is_ignored_by_its_shorter_side_after_clipping():
    boxes = [[10, 10, 14, 30], [10, 10, 13.9, 30], [-3, 10, 3.5, 30], [10, 10, 14.1, 14.1]]
    assert select(boxes, min_face_side=4.0)[1] == [False, True, True, False]


def test_no_boxes():
    instances = select_faces(np.zeros((0, 4)), np.zeros(0, bool), (50, 100), 4.0)
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_ignore.dtype == torch.bool


@given(
    boxes=hnp.arrays(np.float64, (6, 4), elements=st.floats(-100, 200)),
    ignored=hnp.arrays(bool, 6),
)
def test_selected_boxes_have_an_area_and_lie_in_the_image(boxes, ignored):
    instances = select_faces(boxes, ignored, (50, 100), 4.0)
    x0, y0, x1, y1 = instances.gt_boxes.tensor.T
    assert ((x0 >= 0) & (x0 < x1) & (x1 <= 100)).all()
    assert ((y0 >= 0) & (y0 < y1) & (y1 <= 50)).all()
    is_small = torch.minimum(x1 - x0, y1 - y0) < 4.0 - 1e-4
    assert instances.gt_ignore[is_small].all()
    assert int((~instances.gt_ignore).sum()) <= int((~ignored).sum())


# --- the mapper in training ------------------------------------------------------------------


def test_training_sample(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    source = record(write_image(tmp_path, pixels), [8, 16, 10, 20], [40, 2, 3, 30])
    source["annotations"][0]["blur"] = 2
    before = copy.deepcopy(source)
    with numpy_seed(0):
        sample = FaceDatasetMapper(as_is(), is_train=True)(source)
    assert set(sample) == {"file_name", "image_id", "height", "width", "image", "instances"}
    assert (sample["image_id"], sample["height"], sample["width"]) == ("a", 64, 64)
    assert sample["image"].dtype == torch.uint8
    image = sample["image"].permute(1, 2, 0).numpy()
    is_flipped = np.array_equal(image, pixels[:, ::-1])
    assert is_flipped or np.array_equal(image, pixels)
    expected = [[8, 16, 18, 36], [40, 2, 43, 32]]
    if is_flipped:
        expected = [[46, 16, 56, 36], [21, 2, 24, 32]]
    assert sample["instances"].gt_boxes.tensor.tolist() == expected
    assert sample["instances"].gt_ignore.tolist() == [False, True]  # 3 pixels wide
    assert source == before


@pytest.mark.parametrize("key", ["ignore", "iscrowd"])
def test_invalid_faces_and_crowds_are_ignore_regions(tmp_path, key):
    source = record(write_image(tmp_path, grey(64, 64)), [8, 8, 20, 20], [30, 30, 20, 20])
    source["annotations"][0][key] = 1
    source["annotations"][1][key] = 0
    sample = FaceDatasetMapper(as_is(), is_train=True)(source)
    assert sample["instances"].gt_ignore.tolist() == [True, False]


def test_every_box_mode_is_taken(tmp_path):
    source = record(write_image(tmp_path, grey(64, 64)), [8, 8, 20, 20], [8, 8, 28, 28])
    source["annotations"][1]["bbox_mode"] = BoxMode.XYXY_ABS
    boxes = FaceDatasetMapper(as_is(), is_train=True)(source)["instances"].gt_boxes.tensor
    assert boxes[0].tolist() == boxes[1].tolist()


@pytest.mark.parametrize("annotations", [[], None], ids=["none", "no key"])
def test_an_image_without_faces(tmp_path, annotations):
    source = record(write_image(tmp_path, grey(70, 90)))
    if annotations is None:
        del source["annotations"]
    sample = FaceDatasetMapper(make_cfg(), is_train=True)(source)
    assert sample["image"].shape == (3, 64, 64)
    assert len(sample["instances"]) == 0
    assert sample["instances"].gt_boxes.tensor.shape == (0, 4)


@pytest.mark.parametrize(
    "size", [(1, 500), (500, 1), (1, 1), (5, 7), (300, 10_000), (10_000, 300)], ids=str
)
def test_any_shape_of_image_trains(tmp_path, size):
    height, width = size
    side = min(size)
    faces = [[side * i, 0, side, side] for i in range(width // side)]  # one beside the other
    if height > width:
        faces = [[0, side * i, side, side] for i in range(height // side)]
    whole = [0, 0, width, height]
    source = record(write_image(tmp_path, grey(height, width)), whole, *faces)
    mapper = FaceDatasetMapper(make_cfg(), is_train=True)
    num_boxes = 0
    for seed in range(20):
        with numpy_seed(seed):
            sample = mapper(source)
        assert sample["image"].shape == (3, 64, 64)
        boxes = sample["instances"].gt_boxes
        assert torch.isfinite(boxes.tensor).all()
        assert ((boxes.tensor >= 0) & (boxes.tensor <= 64)).all()
        num_boxes += len(boxes)
    assert num_boxes > 5, "boxes were looked at"


def test_the_augmentation_is_given_the_boxes(tmp_path):
    """A white face on black, through everything but colour: its box still bounds it."""
    pixels = np.zeros((120, 200, 3), np.uint8)
    pixels[40:80, 90:120] = 255
    source = record(write_image(tmp_path, pixels), [90, 40, 30, 40])
    mapper = FaceDatasetMapper(make_cfg(FACE_PHOTOMETRIC=False), is_train=True)
    num_seen = 0
    for seed in range(40):
        with numpy_seed(seed):
            sample = mapper(source)
        for box in sample["instances"].gt_boxes.tensor:
            ys, xs = np.nonzero(sample["image"][0].numpy() > 127)
            painted = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            np.testing.assert_allclose(painted, box, atol=1.0)
            num_seen += 1
    assert 10 < num_seen < 40


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_a_mosaic_has_the_pixels_and_the_faces_of_its_tiles(size, numbers, seed):
    height, width = size
    rng = np.random.default_rng(seed)
    tiles = []
    for index, number in enumerate(numbers):
        faces = Instances(size)
        corners = torch.from_numpy(rng.uniform(0, 1, (number, 2, 2)) * (width, height))
        faces.gt_boxes = Boxes(corners.sort(dim=1).values.flatten(1).float())
        faces.gt_classes = torch.zeros(number, dtype=torch.int64)
        faces.gt_ignore = torch.from_numpy(rng.random(number) < 0.5)
        pixels = torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8))
        tiles.append({"image": pixels, "instances": faces, "image_id": index})
    mosaic = join_tiles(tiles)
    assert mosaic["image_id"] == 0
    assert mosaic["instances"].image_size == (2 * height, 2 * width)
    start = 0
    for index, tile in enumerate(tiles):
        y, x = (index // 2) * height, (index % 2) * width
        assert torch.equal(mosaic["image"][:, y : y + height, x : x + width], tile["image"])
        own = mosaic["instances"][start : start + numbers[index]]
        start += numbers[index]
        moved = own.gt_boxes.tensor - torch.tensor([x, y, x, y])
        torch.testing.assert_close(moved, tile["instances"].gt_boxes.tensor, atol=1e-5, rtol=0)
        assert torch.equal(own.gt_ignore, tile["instances"].gt_ignore)
    assert len(mosaic["instances"]) == len(mosaic["instances"].gt_classes) == start


def test_tiles_are_of_half_the_size_and_their_faces_of_a_quarter_at_most(tmp_path):
    """A white face on black: its box still bounds it."""
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[40:190, 90:200] = 255
    source = record(write_image(tmp_path, pixels), [90, 40, 110, 150])
    keys = {"FACE_MOSAIC_PROB": 0.5, "FACE_ANCHOR_SAMPLING_PROB": 1.0, "FACE_PHOTOMETRIC": False}
    cfg = make_cfg(**keys, FACE_SAMPLED_SIZES=(4.0, 60.0), FACE_CROP_SIZE=64)
    mapper = FaceDatasetMapper(cfg, is_train=True)
    sizes = {"whole": [], "tile": []}
    for seed in range(40):
        for kind, call in (("whole", mapper), ("tile", mapper.tile)):
            with numpy_seed(seed):
                sample = call(source)
            side = 64 if kind == "whole" else 32
            assert sample["image"].shape == (3, side, side)
            [box] = sample["instances"].gt_boxes.tensor
            ys, xs = np.nonzero(sample["image"][0].numpy() > 127)
            painted = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            np.testing.assert_allclose(painted, box, atol=1.0)
            sizes[kind].append(float(((box[2] - box[0]) * (box[3] - box[1])).sqrt()))
    assert max(sizes["whole"]) > 32
    assert 12 < max(sizes["tile"]) < 17


@pytest.mark.parametrize("side", [64, 128], ids=["as it is", "halved"])
def test_whole_pixels_stay_whole_pixels(tmp_path, side):
    """With an offset of half a pixel a box of first and last pixels keeps its painted centre."""
    scale = side // 64
    first, last = np.array([8, 16]) * scale, np.array([24, 40]) * scale
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[first[1] : last[1] + 1, first[0] : last[0] + 1] = 255
    source = record(write_image(tmp_path, pixels), [*first, *(last - first)])
    num_flipped = 0
    for seed in range(12):
        with numpy_seed(seed):
            sample = FaceDatasetMapper(as_is(FACE_PIXEL_OFFSET=0.5), is_train=True)(source)
        light = sample["image"][0].double()
        grid = torch.arange(64, dtype=torch.float64)
        painted = torch.stack([(light * grid).sum(), (light.T * grid).sum()]) / light.sum()
        x0, y0, x1, y1 = sample["instances"].gt_boxes.tensor[0].double()
        centre = torch.stack([x0 + x1, y0 + y1]) / 2
        torch.testing.assert_close(centre, painted, atol=0.02, rtol=0)
        num_flipped += bool(centre[0] > 32)
    assert 0 < num_flipped < 12


@pytest.mark.parametrize("offset", [-0.5, 1.5, float("nan")])
def test_an_offset_beyond_a_pixel_is_an_error(offset):
    with pytest.raises(ValueError, match=r"INPUT\.FACE_PIXEL_OFFSET is .*; it must be 0 to 1"):
        FaceDatasetMapper(make_cfg(FACE_PIXEL_OFFSET=offset), is_train=True)


def test_bgr(tmp_path):
    source = record(write_image(tmp_path, np.full((64, 64, 3), (10, 20, 30), np.uint8)))
    for image_format, expected in (("RGB", [10, 20, 30]), ("BGR", [30, 20, 10])):
        for is_train in (True, False):
            sample = FaceDatasetMapper(as_is(FORMAT=image_format), is_train=is_train)(source)
            assert sample["image"][:, 5, 6].tolist() == expected


def test_an_unknown_format_names_the_valid_ones():
    with pytest.raises(ValueError, match=r'INPUT\.FORMAT must be "RGB" or "BGR", not "YUV"'):
        FaceDatasetMapper(make_cfg(FORMAT="YUV"), is_train=True)


def test_the_cache_changes_no_sample(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    source = record(write_image(tmp_path, pixels), [8, 16, 10, 20])
    plain = FaceDatasetMapper(make_cfg(), is_train=True)
    cached = FaceDatasetMapper(make_cfg(FACE_CACHE_MB=1), is_train=True)
    for seed in range(20):  # from the second on from the cache
        with numpy_seed(seed):
            expected = plain(source)["image"]
        with numpy_seed(seed):
            assert torch.equal(cached(source)["image"], expected)
    assert cached.read_image.used_bytes == pixels.nbytes
    assert plain.read_image.used_bytes == 0


# --- the mapper in testing -------------------------------------------------------------------


def test_test_sample_has_the_original_size_and_no_instances(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    source = record(write_image(tmp_path, pixels), [8, 16, 10, 20])
    sample = FaceDatasetMapper(make_cfg(), is_train=False)(source)
    assert set(sample) == {"file_name", "image_id", "height", "width", "image"}
    np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), pixels)
    assert (sample["height"], sample["width"]) == (30, 50)


def test_test_image_is_resized_by_the_config(tmp_path):
    source = record(write_image(tmp_path, grey(30, 50)))
    cfg = make_cfg(MIN_SIZE_TEST=60, MAX_SIZE_TEST=200)
    sample = FaceDatasetMapper(cfg, is_train=False)(source)
    assert sample["image"].shape == (3, 60, 100)
    assert (sample["height"], sample["width"]) == (30, 50)


def test_size_is_that_after_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(grey(30, 50)).save(tmp_path / "a.jpg", exif=exif)
    sample = FaceDatasetMapper(make_cfg(), is_train=False)(record(str(tmp_path / "a.jpg")))
    assert sample["image"].shape == (3, 50, 30)
    assert (sample["height"], sample["width"]) == (50, 30)


# --- errors ----------------------------------------------------------------------------------


def test_a_wrong_size_in_the_annotations_names_the_image(tmp_path):
    source = record(write_image(tmp_path, grey(30, 50)), height=50, width=30)
    with pytest.raises(SizeMismatchError, match=r"a\.png"):
        FaceDatasetMapper(make_cfg(), is_train=True)(source)


@pytest.mark.parametrize("is_train", [True, False])
def test_missing_and_corrupt_files_are_named(tmp_path, is_train):
    mapper = FaceDatasetMapper(make_cfg(), is_train=is_train)
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        mapper(record(str(tmp_path / "gone.jpg")))
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    with pytest.raises(CorruptImageError, match=r"bad\.jpg"):
        mapper(record(str(tmp_path / "bad.jpg")))
