"""Runs of ``srn-d2 detect`` in real processes that are killed, and go on."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import matplotlib.cbook
import pytest
from PIL import Image

from helpers.detect_files import files_below, save_video
from srn_d2 import cli

pytestmark = pytest.mark.slow
NUM_PICTURES = 60
FORMATS = ("--format", "json,jsonl,csv,wider")
# "lite" on ONNX Runtime, which starts faster than PyTorch.
OPTIONS = ("--device", "cpu", "--threshold", 0.2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A small portrait in several sizes, each a little brighter than the one before."""
    folder = tmp_path_factory.mktemp("pictures")
    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        face = image.convert("RGB").crop((100, 0, 400, 300))
    for index in range(NUM_PICTURES):
        small = face.resize((64 + index % 3 * 32, 64))
        small.point(lambda value, index=index: value + index).save(folder / f"{index:02d}.png")
    return folder


def heed_sigint():
    """What a script starts in the background ignores SIGINT, and so would what the tests start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start(repo_root, tmp_path):
    """Start the command in a process: ``start(folder, "--num-processes", 2)``."""
    processes = []

    def run(*arguments):
        command = [sys.executable, "-m", "srn_d2.cli", "detect", *arguments, *OPTIONS]
        command += ["--output", tmp_path / "out"]
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(repo_root)}
        process = subprocess.Popen(
            [*map(str, command)],
            env=env,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_sigint,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def detect(tmp_path, caplog):
    """The same command in this process: its status and messages."""

    def run(*arguments):
        caplog.clear()
        options = [*OPTIONS, "--output", tmp_path / "out", *arguments]
        with caplog.at_level("INFO", logger="srn_d2.cli"):
            status = cli.main(["detect", *map(str, options)])
        return status, caplog.text

    return run


def num_results(output):
    return sum(
        path.read_bytes().count(b"\n")
        for path in (output / ".srn_d2_detect").glob("records-*.jsonl")
    )


def wait_for_results(process, output, number):
    end = time.monotonic() + 240
    while num_results(output) < number:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)


def children_of(process):
    """The worker processes, in the order of their numbers (Linux)."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def check_all_done(output):
    """Nothing is lost, nothing twice, no half-written file."""
    names = [f"{index:02d}" for index in range(NUM_PICTURES)]
    wanted = [f"{name}.png" for name in names] + [f"wider/{name}.txt" for name in names]
    assert files_below(output) == sorted([*wanted, "faces.csv", "faces.json", "faces.jsonl"])
    assert not (output / ".srn_d2_detect").exists()
    records = json.loads((output / "faces.json").read_text())
    assert [Path(record["file_name"]).stem for record in records] == names
    lines = [json.loads(line) for line in (output / "faces.jsonl").read_text().splitlines()]
    assert sorted(lines, key=lambda record: record["file_name"]) == records
    with open(output / "faces.csv", newline="") as file:
        rows = Counter(row["file_name"] for row in csv.DictReader(file))
    assert rows == Counter({record["file_name"]: len(record["faces"]) for record in records})
    assert rows.total() > 0
    return records


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc: run on Linux")
def test_two_processes_and_kills(start, detect, pictures, tmp_path):
    output = tmp_path / "out"
    process = start(pictures, *FORMATS, "--num-processes", 2)
    wait_for_results(process, output, 3)
    os.kill(children_of(process)[0], signal.SIGKILL)  # a worker: the others go on
    wait_for_results(process, output, num_results(output) + 6)
    process.kill()  # then the command itself
    _, messages = process.communicate()
    assert "A worker process was ended: its inputs are done again" in messages
    num_done = num_results(output)
    assert num_done < NUM_PICTURES
    assert not (output / "faces.json").exists()
    # What was done can be read already.
    lines = (output / "faces.jsonl").read_text().splitlines()
    assert {Path(json.loads(line)["file_name"]).stem for line in lines} <= {
        f"{index:02d}" for index in range(NUM_PICTURES)
    }

    status, messages = detect(pictures, *FORMATS, "--size", 32)
    assert status == 2
    assert "--size: original there, 32 now" in messages
    assert "--restart" in messages
    assert num_results(output) == num_done
    status, messages = detect(pictures, *FORMATS)
    assert status == 0, messages
    assert f"{num_done} of {NUM_PICTURES} inputs are done already" in messages
    records = check_all_done(output)

    # All in one go gives the same faces.
    status, messages = detect(pictures, *FORMATS, "--output", tmp_path / "again")
    assert status == 0, messages
    assert check_all_done(tmp_path / "again") == records


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_a_video_leaves_nothing_of_it(start, tmp_path, number):
    output = tmp_path / "out"
    videos = [save_video(tmp_path / "in" / f"{name}.mp4", num_frames=1000) for name in "ab"]
    process = start(*videos, "--num-processes", 2)
    end = time.monotonic() + 240
    while not list(output.glob(".*.partial.mp4")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert messages.splitlines() == ["Stopped: the same command goes on from here"]
    assert [path.name for path in output.iterdir()] == [".srn_d2_detect"]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc: run on Linux")
def test_launched_workers_of_which_one_is_killed(start, detect, pictures, tmp_path, capfd):
    output = tmp_path / "out"
    process = start(pictures, *FORMATS, "--num-gpus", 2)
    wait_for_results(process, output, 6)
    os.kill(children_of(process)[1], signal.SIGKILL)
    _, messages = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "was ended by SIGKILL. What is done is kept" in messages
    assert "Traceback" not in messages
    assert 6 <= num_results(output) < NUM_PICTURES
    status, _ = detect(pictures, *FORMATS, "--num-gpus", 2)
    messages = capfd.readouterr().err
    assert status == 0, messages
    assert "inputs are done already" in messages
    check_all_done(output)
