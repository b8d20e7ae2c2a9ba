"""Fixtures that several test modules share."""

import gc
import importlib.util
import os
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType

import cv2
import hypothesis
import numpy as np
import pytest

from helpers.small_network import SMALL

# Where a test does not choose itself. Hypothesis's own number is 100.
hypothesis.settings.register_profile("few examples", hypothesis.settings.default, max_examples=40)
hypothesis.settings.load_profile("few examples")

REPO_ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the test modules, and with them torch and detectron2, without garbage collections.

    These would take half of the time of the import, and in the tests each full one would look at
    the million objects that live as long as the process.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first: no process begins one when the others are done."""
    number = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -number[item.path])


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The repository's root folder."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def load_script(repo_root) -> Callable[[str], ModuleType]:
    """A script as a module, for what needs no process of its own: ``load_script("a/b.py")``."""

    def load(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(Path(path).stem, repo_root / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def load_tool(load_script) -> Callable[[str], ModuleType]:
    """A tool as a module: ``load_tool("benchmark")``."""
    return lambda name: load_script(f"tools/{name}.py")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with WIDER FACE and the reference results, beside the repository."""
    path = Path(os.environ.get("SRN_SHARED", REPO_ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"{path} is not there: set SRN_SHARED to a folder with widerface and reference")
    return path


@pytest.fixture
def small_cfg(repo_root):
    """Make the config of a tiny SRN on the CPU, float32: ``small_cfg("MODEL.SRN.RFE", False)``."""

    def make(*opts):
        from srn_d2.config import build_cfg

        small = [*SMALL, "MODEL.DEVICE", "cpu", "SOLVER.CPU_BFLOAT16", False]
        return build_cfg(str(repo_root / "configs" / "srn_R18.yaml"), [*small, *opts])

    return make


@pytest.fixture(scope="session")
def tiny_datasets(tmp_path_factory) -> Path:
    """$DETECTRON2_DATASETS with a widerface of 12 + 4 pictures of bright discs."""
    root = tmp_path_factory.mktemp("datasets")
    rng = np.random.default_rng(0)
    split_folder = root / "widerface" / "wider_face_split"
    split_folder.mkdir(parents=True)
    for split, number in (("train", 12), ("val", 4)):
        folder = root / "widerface" / f"WIDER_{split}" / "images" / "0--Discs"
        folder.mkdir(parents=True)
        lines = []
        for index in range(number):
            image = rng.integers(0, 90, (96, 128, 3), dtype=np.uint8)
            x, y, r = (int(v) for v in rng.integers((20, 20, 8), (100, 70, 18)))
            cv2.circle(image, (x, y), r, (180, 200, 230), -1)
            cv2.imwrite(str(folder / f"{index}.jpg"), image)
            box = f"{x - r} {y - r} {2 * r} {2 * r} 0 0 0 0 0 0"
            lines += [f"0--Discs/{index}.jpg", "1", box]
        path = split_folder / f"wider_face_{split}_bbx_gt.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root
