"""How often an evaluation by two protocols reads, gathers and indexes; the results of both."""

import json
from collections import Counter
from pathlib import Path

import pytest
import scipy.io
import torch
from detectron2.config import get_cfg
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

from helpers.wider_face_mat import make_ground_truth, write_ground_truth
from srn_d2.config import add_srn_config
from srn_d2.data import build_face_test_loader
from srn_d2.data.datasets import wider_face
from srn_d2.data.datasets.builtin import register_builtin_datasets, register_wider_face
from srn_d2.engine import leave_process_group
from srn_d2.evaluation import CocoFaceEvaluator, WiderFaceEvaluator, build_evaluator
from srn_d2.evaluation.coco.ap import COCO

NAME = "widerface_val"
SQUARE, TALL = [10, 10, 20, 20], [60, 10, 12, 30]
BOXES = {"0--A/x": [SQUARE, TALL], "0--A/y": [SQUARE], "1--B/z": [TALL], "1--B/no": []}
COUNTED = {"easy": {"0--A/x": [1], "1--B/z": []}, "medium": {"1--B/z": []}}
# An image's detections: its faces, of which one is not met well, and a false positive.
SCORES = {"0--A/x": [0.9, 0.6, 0.8], "0--A/y": [0.7, 0.5], "1--B/z": [0.4, 0.3], "1--B/no": [0.2]}


@pytest.fixture
def cfg(tmp_path):
    """The config of an evaluation, the data set being registered in WIDER FACE's layout."""
    root = tmp_path / "widerface"
    images = []
    for image_id, boxes in BOXES.items():
        path = root / "WIDER_val" / "images" / f"{image_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        faces = tuple(wider_face.WiderFace(*box) for box in boxes)
        images.append(wider_face.WiderImage(f"{image_id}.jpg", faces))
    (root / "wider_face_split").mkdir()
    annotation_file = root / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    wider_face.write_wider_annotations(annotation_file, images)
    write_ground_truth(root / "ground_truth", make_ground_truth(BOXES, COUNTED))
    register_wider_face(root)
    wider_face._last_parsed.cache_clear()
    cfg = get_cfg()
    add_srn_config(cfg)
    cfg.OUTPUT_DIR = str(tmp_path / "out")
    cfg.DATALOADER.NUM_WORKERS = 0
    yield cfg
    register_builtin_datasets()


@pytest.fixture
def calls(monkeypatch):
    """How often what is expensive is called."""
    calls = Counter()

    def count(owner, name):
        original = getattr(owner, name)

        def counting(*args, **kwargs):
            calls[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    count(wider_face, "parse_wider_text")
    count(scipy.io, "loadmat")
    count(comm, "gather")
    count(COCO, "createIndex")
    return calls


def run(evaluator, image_ids=tuple(BOXES)):
    evaluator.reset()
    for image_id in image_ids:
        boxes = torch.tensor([*BOXES[image_id], [100, 50, 9, 9]], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        boxes[0, 0] += 3.7
        instances = Instances((90, 120), pred_boxes=Boxes(boxes))
        instances.scores = torch.tensor(SCORES[image_id])
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    return evaluator.evaluate()


def test_each_file_is_read_once_and_detections_are_gathered_and_indexed_once(cfg, calls):
    build_face_test_loader(cfg, NAME)
    run(build_evaluator(cfg, NAME))
    assert calls == {
        "parse_wider_text": 1,
        "loadmat": 4,  # the four files
        "gather": 1,
        "createIndex": 2,  # of the detections and of the faces
    }


def test_results_and_files_are_those_of_each_protocol_alone(cfg, tmp_path):
    thresholds = cfg.TEST.FACE_IOU_THRESHOLDS
    together = run(build_evaluator(cfg, NAME, str(tmp_path / "together")))
    alone = {
        **run(CocoFaceEvaluator(NAME, str(tmp_path / "alone"), iou_thresholds=thresholds)),
        **run(WiderFaceEvaluator(NAME, str(tmp_path / "alone"), iou_thresholds=thresholds)),
    }
    assert list(together) == ["bbox", "bbox_easy", "bbox_medium", "bbox_hard", "widerface"]
    assert together == alone
    assert len({result["AP50"] for task, result in together.items() if "bbox" in task}) == 3
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
    assert len(contents(tmp_path / "alone")) == 1 + len(BOXES)


def contents(folder):
    """Path below the folder -> bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def _worker(rank, cfg, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    results = run(build_evaluator(cfg, NAME), list(BOXES)[rank::2])
    Path(folder, f"{rank}.json").write_text(json.dumps(results))
    leave_process_group()


def test_two_workers_give_the_results_of_one(cfg, tmp_path):
    # Forked, they need not import torch again, and know the data set.
    torch.multiprocessing.start_processes(
        _worker, args=(cfg, str(tmp_path)), nprocs=2, start_method="fork"
    )
    assert json.loads((tmp_path / "0.json").read_text()) == run(build_evaluator(cfg, NAME))
    assert json.loads((tmp_path / "1.json").read_text()) == {}
