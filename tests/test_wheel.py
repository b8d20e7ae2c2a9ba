"""The built wheel, installed where the repository cannot be imported.

Its environment sees the packages of this one, but neither this one's srn_d2 nor the repository.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import cv2
import numpy as np
import pytest

from srn_d2.config_files import config_names

pytestmark = [pytest.mark.wheel, pytest.mark.slow]

SOURCES = ("LICENSE", "MANIFEST.in", "README.md", "configs", "pyproject.toml", "setup.py", "srn_d2")
# Two steps of small crops.
SHORT = [
    *("SOLVER.MAX_ITER", "2", "INPUT.FACE_CROP_SIZE", "64", "SOLVER.CPU_BFLOAT16", "False"),
    *("DATALOADER.NUM_WORKERS", "0", "SOLVER.IMS_PER_BATCH", "2"),
    *("MODEL.SRN.RFE", "False", "INPUT.MIN_SIZE_TEST", "96"),
]


@pytest.fixture(scope="module")
def wheel(repo_root, tmp_path_factory):
    """The wheel, built from a copy of the sources with leftovers of an earlier build."""
    sources = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        copy = shutil.copytree if (repo_root / name).is_dir() else shutil.copy
        copy(repo_root / name, sources / name)
    leftovers = sources / "build" / "lib" / "srn_d2" / "configs"
    leftovers.mkdir(parents=True)
    (leftovers / "removed.yaml").touch()
    (leftovers.parent / "removed.py").touch()
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command += ["--quiet", "--disable-pip-version-check", "--wheel-dir", sources / "dist", sources]
    subprocess.run(command, check=True)
    [path] = (sources / "dist").iterdir()
    return path


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """Run a program of the wheel's environment: ``run("srn-d2", "detect", ...)`` -> its output."""
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "--quiet"]
    command += ["--disable-pip-version-check", "install", "--no-index", "--no-deps", wheel]
    subprocess.run(command, check=True)
    # After the installation, which would take this environment's srn_d2 for its own. Files *.pth
    # in that folder, such as an editable installation's, have no effect.
    [site_packages] = (environment / "lib").glob("python*/site-packages")
    (site_packages / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"DETECTRON2_DATASETS": str(folder / "datasets"), "OMP_NUM_THREADS": "1"}

    def call(program, *arguments):
        done = subprocess.run(
            [environment / "bin" / program, *arguments],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    call.folder = folder
    return call


def test_the_wheel_holds_package_configs_and_types_only(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"srn_d2"}
    configs = [name for name in names if name.startswith("srn_d2/configs/")]
    assert sorted(name.removeprefix("srn_d2/configs/") for name in configs) == config_names()
    files = ("py.typed", "weights/lite.pth", "weights/lite.onnx", "server/static/index.html")
    assert {f"srn_d2/{file}" for file in files} <= set(names)
    assert "srn_d2/removed.py" not in names


IMPORTS = """
import sys
from pathlib import Path
import srn_d2
from srn_d2 import model_zoo

environment, repository = map(Path, sys.argv[1:])
assert Path(srn_d2.__file__).is_relative_to(environment), srn_d2.__file__
assert not any(Path(entry or ".").resolve() == repository for entry in sys.path), sys.path
for name in model_zoo.config_names():
    assert Path(model_zoo.get_config_file(name)).is_relative_to(environment)
    model_zoo.get_cfg(name)
weights = model_zoo.get_cfg("finetune_lite.yaml").MODEL.WEIGHTS
from detectron2.utils.file_io import PathManager
assert Path(PathManager.get_local_path(weights)).is_relative_to(environment)
"""


def test_every_config_is_read_from_the_wheel(run, repo_root):
    run("python", "-c", IMPORTS, str(run.folder), str(repo_root))


def test_faces_are_detected(run):
    picture = run.folder / "picture.jpg"
    cv2.imwrite(str(picture), np.full((96, 128, 3), 90, np.uint8))
    run("srn-d2", "detect", str(picture), "--output", "found", "--device", "cpu")
    assert (run.folder / "found").is_dir()


# python -m srn_d2.train, where the toy data set has few pictures.
TRAIN = """
import runpy, sys
import srn_d2
from srn_d2.data.datasets import toy_faces

toy_faces.TOY_SPLITS.update(train=8, val=4)
runpy.run_module("srn_d2.train", run_name="__main__", alter_sys=True)
"""


def test_a_network_is_trained_evaluated_and_exported(run):
    run("python", "-c", TRAIN, "--config-file", "srn_toy.yaml", *SHORT, "OUTPUT_DIR", "run")
    lines = (run.folder / "run" / "metrics.json").read_text().splitlines()
    assert any("total_loss" in json.loads(line) for line in lines)
    assert "copypaste: AP,AP50" in (run.folder / "run" / "log.txt").read_text()
    files = ("--config-file", "run/config.yaml", "--weights", "run/model_final.pth")
    run("srn-d2", "export", *files, "--output", "toy.onnx")
    assert (run.folder / "toy.onnx").stat().st_size > 1_000_000
