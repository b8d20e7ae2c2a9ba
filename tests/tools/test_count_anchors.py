"""tools/count_anchors.py on two pictures and a tiny network with random weights."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode
from PIL import Image

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.engine import SRNTrainer

SIDE = 128
NUM_ANCHORS = 2 * sum((SIDE // stride) ** 2 for stride in (4, 8, 16, 32, 64, 128))
NUM_STC_ANCHORS = 2 * sum((SIDE // stride) ** 2 for stride in (4, 8, 16))


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("count_anchors")


@pytest.fixture
def arguments(small_cfg, repo_root, tmp_path):
    """A command line without options: a data set of two images, one with a face; a checkpoint."""
    records = []
    for i, boxes in enumerate([[], [(40, 40, 32, 40)]]):
        Image.fromarray(np.full((SIDE, SIDE, 3), 90, np.uint8)).save(tmp_path / f"{i}.png")
        annotations = [
            {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "ignore": False}
            for box in boxes
        ]
        file_name = str(tmp_path / f"{i}.png")
        records.append({"file_name": file_name, "image_id": i, "annotations": annotations})
    DatasetCatalog.register("counted_faces", lambda: records)
    opts = [
        *("DATASETS.TRAIN", "('counted_faces',)", "INPUT.FACE_CROP_SIZE", str(SIDE)),
        *("INPUT.FACE_EXPAND_RANGE", "(1.0, 1.0)", "INPUT.FACE_FULL_PATCH_PROB", "1.0"),
        *("DATALOADER.NUM_WORKERS", "0", "MODEL.SRN.STC_THRESHOLD", "0.0"),
    ]
    cfg = small_cfg(*opts)
    torch.manual_seed(0)
    SRNCheckpointer(SRNTrainer.build_model(cfg), str(tmp_path)).save("model")
    (tmp_path / "config.yaml").write_text(cfg.dump())
    weights = ["MODEL.WEIGHTS", str(tmp_path / "model.pth")]
    yield ["--config-file", str(tmp_path / "config.yaml"), "--num-images", "2"], weights
    DatasetCatalog.remove("counted_faces")


def test_table_and_plot(tool, arguments, tmp_path, capsys):
    command, weights = arguments
    plot, counts = tmp_path / "new" / "counts.png", tmp_path / "counts.json"
    files = ["--plot", str(plot), "--json", str(counts)]
    assert tool.main([*command, *files, *weights]) == 0
    printed = capsys.readouterr().out
    assert "Means over 2 images" in printed
    # theta 0 leaves nothing on STC levels; few anchors are near the one face.
    without, with_stc = (
        [float(cell) for cell in line.split("|")[2:4]] for line in printed.splitlines()[-2:]
    )
    assert 0 < without[0] < 10
    assert NUM_ANCHORS - 40 < without[1] < NUM_ANCHORS
    assert with_stc[1] == pytest.approx(without[1] - NUM_STC_ANCHORS, abs=40)
    stored = json.loads(counts.read_text())
    assert stored["num_images"] == 2
    assert stored["positives_before_stc"] == pytest.approx(without[0], abs=0.05)
    assert stored["negatives_after_stc"] == pytest.approx(with_stc[1], abs=0.05)
    with Image.open(plot) as picture:
        assert picture.format == "PNG"


def test_weights_are_needed(tool, arguments, capsys):
    command, _ = arguments
    assert tool.main(command) == 2
    assert capsys.readouterr().err == (
        "error: No weights are given: append `MODEL.WEIGHTS model.pth`\n"
    )


def test_missing_config_is_named(tool, capsys):
    assert tool.main(["--config-file", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_some_images_are_needed(tool, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(["--config-file", "any.yaml", "--num-images", "0"])
    assert stop.value.code == 2
    assert "--num-images" in capsys.readouterr().err
