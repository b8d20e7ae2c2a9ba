"""tools/demo_report.py, on a run with random weights."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.small_network import SMALL
from srn_d2.data import register_builtin_datasets
from srn_d2.data.datasets.wider_face import WiderFace, WiderImage, write_wider_annotations

# Few detections, so that drawing is quick; random weights give them low scores.
OPTS = ("TEST.DETECTIONS_PER_IMAGE", "5")


@pytest.fixture(scope="module")
def run_folder(repo_root, tmp_path_factory):
    """What a run leaves behind: config.yaml and model_final.pth, of seeded random weights."""
    from srn_d2.checkpoint import SRNCheckpointer
    from srn_d2.config import build_cfg
    from srn_d2.engine import SRNTrainer

    folder = tmp_path_factory.mktemp("run")
    test_set = ["DATASETS.TEST", ("widerface_val",)]
    cfg = build_cfg(str(repo_root / "configs" / "srn_R18.yaml"), [*SMALL, *OPTS, *test_set])
    (folder / "config.yaml").write_text(cfg.dump())
    torch.manual_seed(0)
    SRNCheckpointer(SRNTrainer.build_model(cfg), str(folder)).save("model_final")
    return folder


def run_process(repo_root, name, *arguments, **environment):
    """Run a tool in a process of its own."""
    return subprocess.run(
        [sys.executable, str(repo_root / "tools" / name), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )


def save_image(path, size=(72, 96), seed=0, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **kwargs)
    return path


@pytest.fixture(scope="module")
def tiny_widerface(tmp_path_factory):
    """A folder for DETECTRON2_DATASETS with three images of widerface_val."""
    root = tmp_path_factory.mktemp("datasets")
    widerface = root / "widerface"
    (widerface / "wider_face_split").mkdir(parents=True)
    images = []
    for index in range(3):
        name = f"0--Parade/{index}.jpg"
        save_image(widerface / "WIDER_val" / "images" / name, seed=index)
        faces = tuple(WiderFace(10 * k, 10, 20, 25) for k in range(index))
        images.append(WiderImage(name, faces))
    write_wider_annotations(widerface / "wider_face_split" / "wider_face_val_bbx_gt.txt", images)
    return root


def write_metrics(run_folder, ap50):
    records = [
        {"iteration": 19, "total_loss": 2.0, "loss_cls_s2": 1.5},
        {"iteration": 39, "total_loss": 1.0, "loss_cls_s2": 0.5} | ap50,
    ]
    (run_folder / "metrics.json").write_text("".join(json.dumps(r) + "\n" for r in records))


def test_the_report_draws_and_accepts_a_good_run(repo_root, run_folder, tiny_widerface):
    write_metrics(run_folder, {"bbox/AP50": 93.5})
    environment = {"DETECTRON2_DATASETS": str(tiny_widerface)}
    done = run_process(repo_root, "demo_report.py", run_folder, **environment)
    assert done.returncode == 0, done.stderr
    assert "AP50 on widerface_val: 93.50" in done.stdout
    for name in ("detections.png", "losses.png"):
        assert str(run_folder / name) in done.stdout
        picture = np.asarray(Image.open(run_folder / name).convert("RGB"))
        assert picture.std() > 10, "not blank"


@pytest.fixture
def registered(tiny_widerface):
    """widerface_val is the tiny one."""
    register_builtin_datasets(tiny_widerface)
    yield
    register_builtin_datasets()


@pytest.mark.usefixtures("registered")
def test_the_report_refuses_a_poor_run(load_tool, run_folder, capsys):
    write_metrics(run_folder, {"bbox/AP50": 88.0})
    assert load_tool("demo_report").main([str(run_folder)]) == 1
    printed = capsys.readouterr()
    assert "AP50 on widerface_val: 88.00" in printed.out
    assert "below 90" in printed.err
    assert load_tool("demo_report").main([str(run_folder), "--min-ap50", "80"]) == 0


def test_the_report_refuses_an_unfinished_run(load_tool, run_folder, capsys):
    write_metrics(run_folder, {})
    assert load_tool("demo_report").main([str(run_folder)]) == 1
    assert "no AP50 of the last iteration" in capsys.readouterr().err
