"""Prediction folders of detectors: whole, gone on with, told apart by what they depend on."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from comparison.latency import measure_latency, spread_out
from comparison.predictions import detection_settings, predict, prediction_folder
from comparison.table import Environment
from comparison.worker import WorkerError
from srn_d2.evaluation.predictions.folders import read_predictions


@pytest.fixture
def images(make_image):
    """Five images; the fourth is 63 pixels wide."""
    return {f"event/{i}": make_image(str(i), width=60 + i) for i in range(5)}


@pytest.fixture
def run(images, factory, tmp_path):
    """``run(detector)``: what failed, and the folder."""

    def run(detector):
        output = tmp_path / "out"
        failures = predict(detector, images, tmp_path, output, factory)
        return failures, prediction_folder(output, detection_settings(detector, tmp_path))

    return run


def modified(folder):
    return {path.stem: path.stat().st_mtime_ns for path in folder.rglob("*.txt")}


def test_files_are_written_once(run, bright, images):
    failures, folder = run(bright())
    assert failures == []
    found = read_predictions(folder, images)
    assert found.warnings() == []
    for rows in found.predictions.values():
        assert rows.tolist() == [[12, 12, 17, 17, 0.9], [0, 0, 5, 5, 0.01]]
    times = modified(folder)
    (folder / "event" / "2.txt").write_text("event/2\n2\n12 12")  # cut off
    assert run(bright()) == ([], folder)
    again = modified(folder)
    assert {name for name in times if times[name] != again[name]} == {"2"}


@pytest.mark.parametrize("problem", ["fail_at", "die_at", "nan_at"])
def test_one_image_fails_and_the_others_are_done(run, bright, images, problem):
    [failure], folder = run(bright(**{problem: 63}))
    assert failure.startswith(f"{images['event/3']}: ")
    message = {"fail_at": "too wide", "die_at": "the worker ended", "nan_at": "NaN"}[problem]
    assert message in failure
    assert set(modified(folder)) == {"0", "1", "2", "4"}


def test_a_worker_that_dies_at_every_image_is_given_up(run, bright):
    with pytest.raises(WorkerError, match="ended with status"):
        run(bright(die=True))


def test_whatever_detections_depend_on_makes_another_folder(bright, tmp_path):
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"1")
    detector = dataclasses.replace(bright(), files=(weights,))

    def folder(detector, source=tmp_path):
        return prediction_folder(tmp_path, detection_settings(detector, source)).name

    names = [folder(detector), folder(bright()), folder(bright(threshold=7))]
    names.append(folder(detector, tmp_path / "elsewhere"))
    packages = Environment("some", ("a==1",))
    names.append(folder(dataclasses.replace(detector, environment=packages)))
    assert folder(dataclasses.replace(detector, title="A better one")) == names[0]
    weights.write_bytes(b"2")
    names.append(folder(detector))
    assert len(set(names)) == len(names)
    assert all(name.startswith("bright-") for name in names)


def test_a_folder_of_code_counts_with_all_its_python_files(bright, tmp_path):
    code = tmp_path / "code"
    (code / "below").mkdir(parents=True)
    module = code / "below" / "module.py"
    module.write_text("a = 1\n")
    detector = dataclasses.replace(bright(), files=(code,))

    def folder():
        return prediction_folder(tmp_path, detection_settings(detector, tmp_path)).name

    names = [folder()]
    (code / "notes.txt").write_text("no code")
    assert folder() == names[0]
    module.write_text("a = 2\n")
    names.append(folder())
    module.rename(code / "below" / "other.py")
    names.append(folder())
    assert len(set(names)) == 3


# Kills itself where the third image's file would be put under its name.
KILLED = """
import os, signal, sys
from pathlib import Path
real_replace, count = os.replace, 0
def replace(source, target):
    global count
    count += str(target).endswith(".txt")
    if count == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    real_replace(source, target)
os.replace = replace
from comparison.predictions import predict
from comparison.table import Detector
from comparison.worker import WorkerFactory
worker, folder = map(Path, sys.argv[1:])
images = {f"event/{i}": folder / f"{i}.png" for i in range(5)}
detector = Detector("bright", "", "", worker, options={"threshold": 128})
predict(detector, images, folder, folder / "out", WorkerFactory(folder / "out", 1))
"""


def test_a_killed_run_goes_on(run, bright, images, repo_root, tmp_path):
    arguments = [sys.executable, "-c", KILLED, str(bright().worker), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(repo_root / "tools")}
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    [folder] = (path for path in (tmp_path / "out" / "predictions").iterdir() if path.is_dir())
    first = modified(folder)
    assert {"0", "1"} <= set(first)
    assert {"3", "4"}.isdisjoint(first)
    assert run(bright()) == ([], folder)
    assert modified(folder).keys() == {"0", "1", "2", "3", "4"}
    assert {name: modified(folder)[name] for name in ("0", "1")} == {
        name: first[name] for name in ("0", "1")
    }


def test_latency_by_turns(bright, images, factory):
    slow = dataclasses.replace(
        bright("slow"), latency_options={"threshold": 128, "sleep": 0.02, "die_at": 64}
    )
    absent = bright("absent", fail_to_load=True)
    paths = list(images.values())
    result = measure_latency([bright(), absent, slow], paths, factory, rounds=2)
    entries = result["detectors"]
    assert len(entries["bright"]["seconds"]) == 10
    assert "no such library" in entries["absent"]["error"]
    assert "seconds" not in entries["absent"]
    assert len(entries["slow"]["seconds"]) == 4, "until it died"
    assert min(entries["slow"]["seconds"]) >= 0.02
    assert f"{paths[4]}: ended" in entries["slow"]["error"]
    assert entries["slow"]["settings"]["options"]["sleep"] == 0.02
    assert result["environment"]["threads"] == 1


def test_sample_is_spread_out():
    images = list(range(100))
    assert spread_out(images, 4) == [12, 37, 62, 87]
    assert spread_out(images, 1) == [50]
    assert spread_out(images[:3], 7) == [0, 1, 2]
