"""Environments of detectors, made for real from a wheel that is made here; and the real peers'."""

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from comparison.environments import STAMP, InstallationError, ensure_environment, find_environment
from comparison.table import SHIPPED_TABLE, Environment, choose, load_tables
from comparison.worker import Worker


@pytest.fixture
def make_wheel(tmp_path):
    """``make_wheel("1.0")``: a wheel of a package tinypeer with nothing but its version."""

    def make(version):
        path = tmp_path / f"tinypeer-{version}-py3-none-any.whl"
        info = f"tinypeer-{version}.dist-info"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr("tinypeer.py", f"VERSION = {version!r}\n")
            metadata = f"Metadata-Version: 2.1\nName: tinypeer\nVersion: {version}\n"
            wheel.writestr(f"{info}/METADATA", metadata)
            tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            wheel.writestr(f"{info}/WHEEL", tag)
            names = ["tinypeer.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"]
            wheel.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))
        return str(path)

    return make


def run(python, code):
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_made_once_and_anew_where_it_is_not_whole(make_wheel, tmp_path):
    folder = tmp_path / "envs"
    environment = Environment("tiny", (make_wheel("1.0"),))
    assert find_environment(environment, folder) is None
    python = ensure_environment(environment, folder)
    assert run(python, "import tinypeer; print(tinypeer.VERSION)") == "1.0"
    assert "No module named 'numpy'" in run(python, "import numpy")

    mark = folder / "tiny" / "mark"
    mark.touch()
    assert ensure_environment(environment, folder) == python
    assert mark.exists(), "used as it is"
    (folder / "tiny" / STAMP).unlink()  # as if the installation had been killed
    assert find_environment(environment, folder) is None
    other = Environment("tiny", (make_wheel("2.0"),), share_packages=True)
    ensure_environment(other, folder)
    assert not mark.exists(), "made anew"
    assert run(python, "import tinypeer, numpy; print(tinypeer.VERSION, numpy.__version__)") == (
        f"2.0 {np.__version__}"
    )
    assert find_environment(environment, folder) is None


def test_an_installation_that_fails(tmp_path):
    environment = Environment("tiny", (str(tmp_path / "none-1.0-py3-none-any.whl"),))
    with pytest.raises(InstallationError, match=r"pip failed \(1\): ERROR: .*none-1\.0"):
        ensure_environment(environment, tmp_path / "envs")
    assert find_environment(environment, tmp_path / "envs") is None


DETECTORS = choose(load_tables(SHIPPED_TABLE), None)
PEERS = [detector for detector in DETECTORS if detector.environment]


@pytest.mark.parametrize("detector", PEERS, ids=lambda detector: detector.name)
def test_a_real_peer_finds_the_face_of_a_portrait(detector, repo_root, tmp_path):
    folder = repo_root / "output" / "compare" / "envs"
    python = find_environment(detector.environment, folder)
    if python is None:
        pytest.skip(f"{folder / detector.environment.name} is not there: run make compare")
    import matplotlib.cbook

    portrait = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    options = detector.latency_options  # those that are fast
    with Worker(detector, python, tmp_path / "log", threads=1, options=options) as worker:
        found = worker.detect(Path(portrait))
    best = found.boxes[found.scores.argmax()]
    # Her face as it is in the picture, of 512 x 600 pixels: by eye.
    face = np.array([185, 85, 335, 290])
    low, high = np.maximum(best[:2], face[:2]), np.minimum(best[2:], face[2:])
    intersection = np.prod(np.maximum(high - low, 0))
    union = np.prod(best[2:] - best[:2]) + np.prod(face[2:] - face[:2]) - intersection
    assert intersection / union > 0.5, best
    assert found.seconds > 0
