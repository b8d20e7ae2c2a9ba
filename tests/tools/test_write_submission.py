"""tools/write_submission.py: killed and resumed, and what it refuses, with random weights."""

import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
import torch

from helpers.detections import assert_same_detections
from helpers.small_network import SMALL
from srn_d2.data import register_builtin_datasets
from srn_d2.evaluation.predictions.folders import read_predictions

NUM_IMAGES = 4
IMAGE_IDS = [f"0--Discs/{index}" for index in range(NUM_IMAGES)]
# Few detections, so that files are small.
OPTS = ("TEST.DETECTIONS_PER_IMAGE", 5)


def die_at_third_file(run, output):
    """``run(output)`` in a forked process, which dies where a third file would get its name."""
    replace, files = os.replace, []

    def replace_or_die(source, target):
        if str(target).endswith(".txt"):
            files.append(target)
        if len(files) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = replace_or_die
    run(output)


@pytest.fixture(scope="module")
def model_arguments(repo_root, tmp_path_factory):
    """--config-file and MODEL.WEIGHTS of a tiny model, seeded random weights."""
    from srn_d2.checkpoint import SRNCheckpointer
    from srn_d2.config import build_cfg
    from srn_d2.engine import SRNTrainer

    folder = tmp_path_factory.mktemp("run")
    opts = [*SMALL, *OPTS, "MODEL.DEVICE", "cpu"]
    cfg = build_cfg(str(repo_root / "configs" / "srn_R18.yaml"), opts)
    (folder / "config.yaml").write_text(cfg.dump())
    torch.manual_seed(0)
    SRNCheckpointer(SRNTrainer.build_model(cfg), str(folder)).save("model")
    return ["--config-file", folder / "config.yaml"], ["MODEL.WEIGHTS", folder / "model.pth"]


@pytest.fixture
def run_process(repo_root, tiny_datasets, model_arguments):
    """Run the tool in a process of its own."""

    def run(output):
        config, weights = model_arguments
        arguments = [*config, "--dataset", "widerface_val", "--output", output, *weights]
        tool = repo_root / "tools" / "write_submission.py"
        return subprocess.run(
            [sys.executable, str(tool), *map(str, arguments)],
            env=os.environ | {"OMP_NUM_THREADS": "1", "DETECTRON2_DATASETS": str(tiny_datasets)},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def registered(tiny_datasets):
    """widerface_val is the tiny one."""
    register_builtin_datasets(tiny_datasets)
    yield tiny_datasets
    register_builtin_datasets()


@pytest.fixture
def run_here(load_tool, registered, model_arguments, caplog):
    """Call the tool's main: ``run_here(output, *opts)`` gives its status and its messages."""
    tool = load_tool("write_submission")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes

    def run(output, *opts, flags=(), dataset="widerface_val"):
        config, weights = model_arguments
        arguments = [*config, "--dataset", dataset, "--output", output, *flags, *weights, *opts]
        caplog.clear()
        with caplog.at_level("INFO", logger="srn_d2.write_submission"):
            status = tool.main(list(map(str, arguments)))
        return status, caplog.text

    yield run
    torch.set_num_threads(threads)


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_if_never_killed(run_process, run_here, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=die_at_third_file, args=(run_here, killed))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    first = [killed / f"{image_id}.txt" for image_id in IMAGE_IDS[:2]]
    names = {path.name for path in (killed / "0--Discs").iterdir()}
    assert names > {path.name for path in first}
    assert any("partial" in name for name in names), "the third, not yet under its name"
    times = [path.stat().st_mtime_ns for path in first]

    done = run_process(killed)
    assert done.returncode == 0, done.stderr
    assert "2 of 4 images are done already" in done.stderr
    assert [path.stat().st_mtime_ns for path in first] == times
    assert "Warning" not in done.stderr
    status, messages = run_here(whole)
    assert status == 0, messages
    assert "0 of 4 images are done already" in messages
    assert files_of(killed) == files_of(whole)
    assert files_of(killed).keys() == {f"{image_id}.txt" for image_id in IMAGE_IDS}
    assert killed.with_name("killed.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_files_hold_what_the_predictor_detects(run_here, registered, model_arguments, tmp_path):
    from srn_d2.config import build_cfg
    from srn_d2.data.image_io import read_image
    from srn_d2.inference.predictor import FacePredictor

    status, messages = run_here(tmp_path / "out")
    assert status == 0, messages
    ground_truth = registered / "widerface" / "ground_truth"
    assert f"--ground-truth {ground_truth} --predictions {tmp_path / 'out'}" in messages
    found = read_predictions(tmp_path / "out", IMAGE_IDS)
    assert found.warnings() == []
    (_, config), weights = model_arguments
    predictor = FacePredictor(build_cfg(str(config), list(map(str, weights))))
    folder = registered / "widerface" / "WIDER_val" / "images"
    for image_id in IMAGE_IDS:
        wanted = predictor(read_image(folder / f"{image_id}.jpg"))
        rows = torch.from_numpy(found.predictions[image_id])
        assert len(rows) == 5
        corners = torch.cat([rows[:, :2], rows[:, :2] + rows[:, 2:4]], dim=1)
        assert_same_detections((corners, rows[:, 4]), wanted, at_least=5)


def test_only_the_damaged_file_is_written_again(run_here, tmp_path):
    output = tmp_path / "out"
    assert run_here(output)[0] == 0
    before = files_of(output)
    times = {path: path.stat().st_mtime_ns for path in output.rglob("*.txt")}
    damaged = output / f"{IMAGE_IDS[1]}.txt"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    status, messages = run_here(output)
    assert status == 0
    assert "3 of 4 images are done already" in messages
    assert files_of(output) == before
    changed = [path for path, time in times.items() if path.stat().st_mtime_ns != time]
    assert changed == [damaged]


def test_other_settings_and_absent_things_are_refused(run_here, tmp_path):
    output = tmp_path / "out"
    assert run_here(output)[0] == 0
    before = files_of(tmp_path)
    for messages_of, expected in (
        (lambda: run_here(output, "MODEL.SRN.NMS_THRESH_TEST", 0.4), "NMS_THRESH_TEST: 0.5 there"),
        (lambda: run_here(output, "TEST.SRN_TTA.ENABLED", True), "SRN_TTA.ENABLED: False there"),
        (lambda: run_here(output, flags=["--integer-boxes"]), "integer_boxes: False there"),
        (lambda: run_here(output, dataset="widerface_train"), "dataset: widerface_val there"),
        (lambda: run_here(tmp_path / "new", "MODEL.WEIGHTS", "absent.pth"), "absent.pth"),
        (lambda: run_here(tmp_path / "new", dataset="widerface_vall"), "'widerface_vall' is not"),
    ):
        status, messages = messages_of()
        assert status == 2
        assert expected in messages
    assert files_of(tmp_path) == before


def test_multi_scale_testing_is_a_key(run_here, tmp_path):
    tta = ("TEST.SRN_TTA.ENABLED", True, "TEST.SRN_TTA.MAX_SIZE", 160)
    status, messages = run_here(tmp_path / "several", *tta, "TEST.SRN_TTA.KEEP_SINGLE", True)
    assert status == 0, messages
    assert run_here(tmp_path / "one")[0] == 0
    several, one = (read_predictions(tmp_path / name, IMAGE_IDS) for name in ("several", "one"))
    assert several.warnings() == []
    for rows in several.predictions.values():
        assert 0 < len(rows) <= 5
    different = [
        image_id
        for image_id in IMAGE_IDS
        if several.predictions[image_id].tolist() != one.predictions[image_id].tolist()
    ]
    assert different


def test_integer_boxes_are_integers(run_here, tmp_path):
    status, messages = run_here(tmp_path / "out", flags=["--integer-boxes"])
    assert status == 0, messages
    found = read_predictions(tmp_path / "out", IMAGE_IDS)
    assert found.warnings() == []
    for rows in found.predictions.values():
        assert len(rows) == 5
        assert (rows[:, :4] == rows[:, :4].round()).all()
        assert (rows[:, 4] == rows[:, 4].round(3)).all()


def test_an_unreadable_image_is_named_and_the_rest_written(run_here, registered, tmp_path):
    picture = registered / "widerface" / "WIDER_val" / "images" / f"{IMAGE_IDS[1]}.jpg"
    good = picture.read_bytes()
    try:
        picture.write_bytes(good[:300])
        status, messages = run_here(tmp_path / "out")
    finally:
        picture.write_bytes(good)
    assert status == 1
    assert "1 of 4 images failed" in messages
    assert f"{IMAGE_IDS[1]}: {picture} cannot be decoded" in messages
    wanted = {f"{image_id}.txt" for image_id in IMAGE_IDS if image_id != IMAGE_IDS[1]}
    assert files_of(tmp_path / "out").keys() == wanted
    status, messages = run_here(tmp_path / "out")
    assert status == 0
    assert "3 of 4 images are done already" in messages


def test_ctrl_c_stops_and_the_same_command_goes_on(run_here, tmp_path, monkeypatch):
    from srn_d2.inference.predictor import FacePredictor

    detect, calls = FacePredictor.__call__, []

    def interrupt_at_second_image(self, image):
        calls.append(image)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return detect(self, image)

    monkeypatch.setattr(FacePredictor, "__call__", interrupt_at_second_image)
    assert run_here(tmp_path / "out")[0] == 130
    assert files_of(tmp_path / "out").keys() == {f"{IMAGE_IDS[0]}.txt"}
    status, messages = run_here(tmp_path / "out")
    assert status == 0
    assert "1 of 4 images are done already" in messages


def test_a_folder_that_cannot_be_written_ends_the_run(run_here, tmp_path):
    output = tmp_path / "out"
    assert run_here(output)[0] == 0
    for path in output.rglob("*.txt"):
        path.unlink()
    (output / "0--Discs").rmdir()
    (output / "0--Discs").write_text("in the way")
    status, messages = run_here(output)
    assert status == 2
    assert "0--Discs" in messages
