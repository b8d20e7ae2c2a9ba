"""The tool writes what the training loader gives, with its boxes and its matched anchors."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode
from PIL import Image

from srn_d2.config import build_cfg
from srn_d2.data import build_face_train_loader


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("visualize_data")


@pytest.fixture
def pictures(tmp_path) -> Iterator[Path]:
    """Three dark square images, registered: one face; a face and an ignore region; nothing."""
    size = 256
    boxes = [[(83, 76, 58, 72, False)], [(83, 76, 58, 72, False), (190, 20, 40, 50, True)], []]
    records = []
    for i, of_image in enumerate(boxes):
        pixels = np.random.default_rng(i).integers(0, 60, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"picture{i}.png")
        annotations = [
            {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "ignore": ignore}
            for *box, ignore in of_image
        ]
        file_name = str(tmp_path / f"picture{i}.png")
        records.append({"file_name": file_name, "image_id": i, "annotations": annotations})
    DatasetCatalog.register("visualized_faces", lambda: records)
    yield tmp_path
    DatasetCatalog.remove("visualized_faces")


# The images are used as they are, but for the flip: the pictures can be told beforehand.
OPTS = [
    *("DATASETS.TRAIN", "('visualized_faces',)", "SOLVER.IMS_PER_BATCH", "2"),
    *("INPUT.FACE_CROP_SIZE", "256", "INPUT.FACE_PHOTOMETRIC", "False"),
    *("INPUT.FACE_EXPAND_RANGE", "(1.0, 1.0)", "INPUT.FACE_FULL_PATCH_PROB", "1.0"),
]


def run(tool, repo_root: Path, output: Path, *arguments: str) -> int:
    config = str(repo_root / "configs" / "Base-SRN.yaml")
    return tool.main(["--config-file", config, "--output", str(output), *arguments, *OPTS])


def box_of_color(picture: np.ndarray, channels: str) -> list[int]:
    """The rectangle, XYXY, of the pixels that are bright in these of "RGB" and dark in the rest."""
    is_bright = picture > 75
    wanted = [channel in channels for channel in "RGB"]
    ys, xs = np.nonzero((is_bright == wanted).all(axis=2))
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_pictures_are_the_loaders_with_boxes_by_kind(tool, repo_root, pictures, capsys):
    output = pictures / "output"
    assert run(tool, repo_root, output, "--num-images", "3", "--start-iter", "1") == 0
    printed = capsys.readouterr().out
    cfg = build_cfg(str(repo_root / "configs" / "Base-SRN.yaml"), OPTS)
    cfg.DATALOADER.NUM_WORKERS = 0
    batches = iter(build_face_train_loader(cfg, start_iter=1))
    samples = [*next(batches), *next(batches)][:3]
    for number, sample in enumerate(samples):
        name = f"{number:04d}_picture{sample['image_id']}"
        picture = np.asarray(Image.open(output / f"{name}.png"))
        image = sample["image"].permute(1, 2, 0).numpy()
        assert picture.shape == image.shape
        is_drawn = np.abs(picture.astype(int) - image).max(axis=2) > 12
        instances = sample["instances"]
        assert is_drawn.any() == (len(instances) > 0)
        for box, ignored in zip(instances.gt_boxes.tensor, instances.gt_ignore, strict=True):
            drawn = box_of_color(picture, "RG" if ignored else "G")  # orange or lime
            np.testing.assert_allclose(drawn, box, atol=2)
        num_ignored = int(instances.gt_ignore.sum())
        assert f"{name}: {len(instances) - num_ignored} faces, {num_ignored} ignored" in printed
    assert len(list(output.iterdir())) == 3


def test_matched_anchors(tool, repo_root, pictures, capsys):
    """The face has the place and size of an anchor of p5, and an IoU of 0.51 with the next size."""
    output = pictures / "output"
    assert run(tool, repo_root, output, "--num-images", "3", "--anchors") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "step" in line]
    assert len(lines) == 3
    for line in lines:
        one, two = (0, 0) if ": 0 faces" in line else (1, 2)
        assert f"step 1: p2 0, p3 0, p4 0, p5 {one}, p6 0, p7 0" in line
        assert f"step 2: p2 0, p3 0, p4 0, p5 {two}, p6 0, p7 0" in line
    assert len(list(output.iterdir())) == 9
    faces = list(output.glob("*picture0.png"))
    assert len(faces) == 1
    for face in faces:
        for step, growth in ((1, 0), (2, 0.5 * (2**0.5 - 1))):
            picture = np.asarray(Image.open(face.with_name(f"{face.stem}_step{step}.png")))
            left = 83 if picture[:, :100].max() > 75 else 256 - 83 - 58
            expected = [left - 58 * growth, 76 - 72 * growth]
            expected += [left + 58 * (1 + growth), 76 + 72 * (1 + growth)]
            drawn = box_of_color(picture, "GB")  # cyan
            half_line = np.array([-1, -1, 1, 1])  # the line lies astride the box's edge
            np.testing.assert_allclose(drawn, expected + half_line, atol=2)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["DATASETS.TRAIN", "('no_such_faces',)"], "no_such_faces"),
        (["INPUT.FACE_CROP", "3"], "FACE_CROP_SIZE"),
        (["INPUT.FACE_EXPAND_RANGE", "(0.5, 1.0)"], "FACE_EXPAND_RANGE"),
    ],
    ids=["unknown data set", "unknown key", "value out of range"],
)
def test_a_wrong_config_is_one_line(tool, repo_root, pictures, capsys, opts, message):
    config = str(repo_root / "configs" / "Base-SRN.yaml")
    assert tool.main(["--config-file", config, *OPTS, *opts]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--num-images=0", "argument --num-images: 0 is less than 1"),
        ("--start-iter=-1", "--start-iter must be at least 0"),
    ],
)
def test_numbers_out_of_range_are_usage_errors(tool, capsys, option, message):
    with pytest.raises(SystemExit) as stop:
        tool.main(["--config-file", "any.yaml", option])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
