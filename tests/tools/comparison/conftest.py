"""A small folder in WIDER FACE's layout, and a table of detectors that take milliseconds."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from comparison.table import Detector
from comparison.worker import WorkerFactory
from helpers.wider_face_mat import write_ground_truth
from srn_d2.data.datasets.wider_face import parse_wider_annotations
from srn_d2.evaluation.widerface.ap import SETTINGS, WiderFaceGroundTruth

BRIGHT_WORKER = Path(__file__).with_name("bright_worker.py")


@pytest.fixture(scope="session")
def wider_root(tiny_datasets, tmp_path_factory):
    """Four pictures with one bright disc each, their annotations and .mat files."""
    root = tmp_path_factory.mktemp("compare") / "widerface"
    shutil.copytree(tiny_datasets / "widerface", root)
    text = (root / "wider_face_split" / "wider_face_val_bbx_gt.txt").read_text()
    images = parse_wider_annotations(text)
    boxes = {i.image_id: np.array([face[:4] for face in i.faces], np.int32) for i in images}
    counted = {image_id: np.ones(len(array), bool) for image_id, array in boxes.items()}
    truth = WiderFaceGroundTruth(boxes, dict.fromkeys(SETTINGS, counted))
    write_ground_truth(root / "ground_truth", truth)
    return root


@pytest.fixture
def bright():
    """``bright(fail_at=3)``: the detector of bright_worker.py with options."""

    def make(name="bright", **options):
        return Detector(name, name.title(), "", BRIGHT_WORKER, options={"threshold": 128} | options)

    return make


@pytest.fixture
def factory(tmp_path):
    return WorkerFactory(tmp_path / "out", threads=1)


@pytest.fixture
def make_image(tmp_path):
    """``make_image("a", width=60)``: a dark picture with a bright disc; its path."""

    def make(name, width=60):
        pixels = np.zeros((40, width, 3), np.uint8)
        cv2.circle(pixels, (20, 20), 8, (220, 210, 200), -1)
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), pixels)
        return path

    return make
