"""tools/benchmark_detect.py on a few small pictures, with the real command."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("benchmark_detect")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_all_pictures_is_read(tool, capsys):
    assert tool.main(["memory", "--num-images", "12"]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("12 pictures in ")
    highest = [float(line.split("|")[2]) for line in rest if " % |" in line]
    assert len(highest) == 10
    assert max(highest) > 50  # MiB: Python, ONNX Runtime and the weights take more


def test_children_count_as_part_of_the_process(tool):
    if not Path(f"/proc/{os.getpid()}/task").exists():
        pytest.skip("no /proc")
    assert tool.resident_mib(os.getpid()) > 50
    assert os.getpid() in set(tool.process_tree(os.getppid()))


def test_command_and_detector_are_timed(tool, repo_root, tmp_path, capsys):
    with Image.open(repo_root / "docs/images/toy_faces.jpg") as picture:
        picture.thumbnail((64, 64))
        for number in range(3):
            picture.save(tmp_path / f"{number}.jpg")
    arguments = ["rate", str(tmp_path), "--num-images", "2"]
    assert tool.main(arguments) == 0
    header, _, line = capsys.readouterr().out.splitlines()
    assert header.startswith("| 2 pictures, lite |")
    command, bare, ratio = (float(cell) for cell in line.split("|")[2:5])
    assert command > 0
    assert ratio == pytest.approx(bare / command, abs=0.2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["memory", "--side", "4000"], "toy_faces.jpg: its sides are shorter than twice --side"),
        (["rate", "{folder}"], "no .jpg in it"),
        (["memory", "--num-images", "1", "--model", "none"], "exit status 2"),
    ],
)
def test_wrong_arguments_are_named(tool, tmp_path, capsys, arguments, message):
    assert tool.main([part.format(folder=tmp_path) for part in arguments]) == 2
    assert message in capsys.readouterr().err
