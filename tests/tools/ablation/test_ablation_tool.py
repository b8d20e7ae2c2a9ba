"""tools/ablation.py: a training that is stopped and resumed, evaluated and tabulated."""

import json
import multiprocessing
import re
import runpy
import shutil
import signal
import sys
import time

import numpy as np
import pytest

from helpers.wider_face_mat import write_ground_truth
from srn_d2.data import register_builtin_datasets
from srn_d2.data.datasets.wider_face import parse_wider_annotations
from srn_d2.evaluation.predictions.folders import read_predictions
from srn_d2.evaluation.widerface.ap import SETTINGS, WiderFaceGroundTruth

NUM_IMAGES = 4
IMAGE_IDS = [f"0--Discs/{index}" for index in range(NUM_IMAGES)]
CONFIG = ["--config-file", "srn_R18.yaml"]


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("ablation")


@pytest.fixture
def datasets(tiny_datasets, tmp_path, monkeypatch):
    """The tiny widerface with official ground truth, for this process and those that it starts."""
    root = tmp_path / "datasets"
    shutil.copytree(tiny_datasets, root)
    split = root / "widerface" / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    images = parse_wider_annotations(split.read_text())
    boxes = {i.image_id: np.array([face[:4] for face in i.faces], np.int32) for i in images}
    counted = {image_id: np.ones(len(array), bool) for image_id, array in boxes.items()}
    truth = WiderFaceGroundTruth(boxes, dict.fromkeys(SETTINGS, counted))
    write_ground_truth(root / "widerface" / "ground_truth", truth)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    register_builtin_datasets(root)
    yield root
    register_builtin_datasets()


def run_as_a_script(path, arguments):
    """In a forked process, which need not import everything again."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as what a script starts in the background
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


@pytest.mark.slow
def test_a_run_is_stopped_and_resumed_and_tabulated(tool, datasets, small_cfg, tmp_path, capsys):
    cfg = small_cfg("INPUT.FACE_CROP_SIZE", 64, "DATALOADER.NUM_WORKERS", 0)
    (tmp_path / "config.yaml").write_text(cfg.dump())
    (tmp_path / "half.txt").write_text("0--Discs/0.jpg\n0--Discs/1.jpg\n")
    arguments = [
        *("--config-file", str(tmp_path / "config.yaml"), "--output", str(tmp_path / "out")),
        *("--rows", "stc", "--iterations", "24", "--anchor-images", "0", "--resamples", "20"),
        *("--image-lists", f"half={tmp_path / 'half.txt'}"),
        *("--eval-args", "TEST.DETECTIONS_PER_IMAGE 5", "SOLVER.CHECKPOINT_PERIOD", "1"),
    ]
    [run] = tool.plan_runs(tool.parse_args(arguments))
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=run_as_a_script, args=(tool.__file__, arguments))
    process.start()
    end = time.monotonic() + 300
    while not (run.weights.parent / "last_checkpoint").exists():
        assert time.monotonic() < end, run.log.read_text()
        time.sleep(0.02)
    process.terminate()
    process.join(120)
    assert process.exitcode == 130
    assert not run.weights.exists()

    assert tool.main(arguments) == 0, run.log.read_text()
    starts = re.findall(r"Starting training from iteration (\d+)", run.log.read_text())
    assert starts[0] == "0"
    assert 0 < int(starts[1]) <= 24
    assert [path.name for path in run.weights.parent.glob("*.pth")] == ["model_final.pth"]
    found = read_predictions(run.predictions, IMAGE_IDS)
    assert [len(boxes) for boxes in found.predictions.values()] == [5] * NUM_IMAGES
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [images["images"] for images in report["lists"].values()] == [NUM_IMAGES, 2]
    assert len(report["lists"]["half"]["rows"]["stc"]["seeds"]["0"]["ap"]["hard"]) == 4

    size = run.log.stat().st_size
    assert tool.main(arguments) == 0
    assert run.log.stat().st_size == size  # nothing was left to do
    more = ["stc,str" if x == "stc" else x for x in arguments]
    assert tool.main(["--tabulate-only", *more]) == 0
    assert "Not done yet: str-seed0" in (tmp_path / "out" / "report.md").read_text()
    capsys.readouterr()
    changed = ["25" if x == "24" else x for x in arguments]
    assert tool.main(changed) == 2
    assert "SOLVER.MAX_ITER: 24 there, 25 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "stx"], "there is no row 'stx'"),
        (["--start-weights", "nowhere.pth"], "--start-weights nowhere.pth is no file"),
        (["--start-weights", "a.pth", "--start-weights", "b.pth"], "--start-weights b.pth: given"),
        (["--eval-args", "INPUT.MIN_SIZE_TEST 9 SEED"], "not pairs of KEY VALUE"),
        (["--eval-args", "INPUT.MIN_SIZE 9"], "INPUT.MIN_SIZE"),
        (["MODEL.SRN.STC_LEVEL", "p2"], "did you mean MODEL.SRN.STC_LEVELS"),
        (["DATASETS.TEST", "()"], "DATASETS.TEST is empty"),
        (["--image-lists", "seen=nowhere.txt"], "No list of images: nowhere.txt"),
        (["--tabulate-only", "DATASETS.TEST", "('widerface_val',)"], "no run is done yet"),
        (["--measure", "nowhere.pth"], "retinanet-seed0: there is no checkpoint nowhere.pth"),
    ],
)
def test_errors_are_one_sentence(tool, datasets, tmp_path, capsys, arguments, message):
    assert tool.main([*CONFIG, "--output", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("runs/*/output.log"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--seeds", "0,0"],
        ["--seeds", "-1"],
        ["--rows", "a,,b"],
        ["--image-lists", "all=pyproject.toml"],
        ["--image-lists", "seen=a.txt,seen=b.txt"],
        ["--image-lists", "seen="],
        ["--anchor-images", "-1"],
        ["--iterations", "0"],
    ],
)
def test_wrong_arguments_are_usage_errors(tool, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        tool.parse_args([*CONFIG, "--output", "out", *arguments])
    assert stop.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_start_weights_of_a_row(tool):
    assert tool.start_weights(["a.pth", "srn=b=1.pth"], ["stc", "srn"]) == {
        "": "a.pth",
        "srn": "b=1.pth",
    }
    assert tool.start_weights(["lr=1.pth"], ["stc"]) == {"": "lr=1.pth"}
