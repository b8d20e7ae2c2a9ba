"""VocApEvaluator on AFW and PASCAL face."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from scipy.io import savemat

from srn_d2.cli import main
from srn_d2.config import add_srn_config
from srn_d2.data.datasets.benchmarks import register_benchmarks
from srn_d2.data.datasets.common import register_face_dataset
from srn_d2.engine import leave_process_group
from srn_d2.evaluation import build_evaluator
from srn_d2.evaluation.voc_ap.evaluator import VocApEvaluator

FACES = [(0, 0, 40, 40), (100, 0, 140, 40), (200, 0, 240, 40), (300, 0, 340, 40)]
NAME = "voc_ap_test"
DETECTIONS = {"a": (FACES[:3], [0.5, 0.9, 0.8]), "b": ([FACES[0]], [float("nan")])}


def register(evaluator_type):
    """Two images with two faces, the second one ignored."""
    annotations = [
        {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "ignore": i == 1}
        for i, box in enumerate(FACES[:2])
    ]
    dicts = [
        {"file_name": f"{image_id}.jpg", "image_id": image_id, "annotations": annotations}
        for image_id in DETECTIONS
    ]
    register_face_dataset(NAME, lambda: dicts, evaluator_type=evaluator_type)


@pytest.fixture(params=["afw", "pascal_face"])
def dataset(request):
    register(request.param)
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def run(evaluator, image_ids="ab"):
    evaluator.reset()
    for image_id in image_ids:
        boxes, scores = DETECTIONS[image_id]
        instances = Instances((60, 400))
        instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
        instances.scores = torch.tensor(scores)
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    return evaluator.evaluate()


def test_evaluator(dataset, tmp_path, caplog):
    cfg = get_cfg()
    add_srn_config(cfg)
    task = MetadataCatalog.get(dataset).evaluator_type
    with caplog.at_level(logging.INFO):
        results = run(build_evaluator(cfg, dataset, str(tmp_path / "out")))
    # Ignored, wrong, right: precision 1/2 at recall 1/2.
    assert results == {task: {"AP50": 25.0, "AP50_toolbox": 25.0}}
    assert "Image 'b': 1 detections with a NaN or infinite score" in caplog.text
    assert "AP at IoU 0.5 on voc_ap_test: 2 images" in caplog.text
    curves = json.loads((tmp_path / "out" / f"{task}_curves.json").read_text())
    assert curves["AP50"]["precision"] == [0, 0.5]
    assert curves["AP50"]["recall"] == [0, 0.5]
    np.testing.assert_allclose(curves["AP50_toolbox"]["scores"], [0.8, 0.5])


@pytest.mark.parametrize(
    ("name", "annotations"),
    [
        ("afw", "new_annotations_AFW.mat"),
        ("pascal_face", "Annotations_Face_PASCALLayout_large_fixed.mat"),
    ],
)
def test_results_are_those_of_the_written_file(tmp_path, capsys, name, annotations):
    """To the last digit, by the command, with corners and scores of many digits, equal scores,
    ignored faces, and images that are not in the order of their names."""
    rng = np.random.default_rng(3)
    folder = tmp_path / name
    (folder / "images").mkdir(parents=True)
    image_ids, records, found = [f"{(7 * i) % 40:02d}" for i in range(40)], [], {}
    for image_id in image_ids:
        (folder / "images" / f"{image_id}.jpg").touch()
        faces = rng.uniform(0, 300, (3, 4))
        faces[:, 2:] = faces[:, :2] + rng.uniform(20, 90, (3, 2))
        objects = np.hstack([faces, np.zeros((3, 1)), rng.integers(0, 4, (3, 1)) == 0])
        records.append((f"{image_id}.jpg", objects))
        boxes = np.vstack([faces + rng.normal(0, 7, faces.shape), faces + 40])
        found[image_id] = boxes, rng.integers(1, 9, 6) / 9
    dtype = [("imgname", object), ("objects", object)]
    savemat(folder / annotations, {"Annotations": np.array(records, dtype=dtype)})
    register_benchmarks(tmp_path)
    try:
        evaluator = VocApEvaluator(name, str(tmp_path / "out"), task=name)
        for image_id, (boxes, scores) in found.items():
            instances = Instances((400, 400))
            instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
            instances.scores = torch.tensor(scores, dtype=torch.float32)
            evaluator.process([{"image_id": image_id}], [{"instances": instances}])
        results = evaluator.evaluate()[name]
    finally:
        register_benchmarks()
    files = ["--annotations", folder / annotations, "--output", tmp_path / "report"]
    files += ["--predictions", tmp_path / "out" / f"{name}_detections.txt"]
    protocol = name.removesuffix("_face")
    assert main(["evaluate", "--protocol", protocol, *map(str, files)]) == 0
    assert capsys.readouterr().err == ""
    content = json.loads((tmp_path / "report" / "results.json").read_text())
    from_file = content["methods"][f"{name}_detections"]
    curves = json.loads((tmp_path / "out" / f"{name}_curves.json").read_text())
    for key, metric in (("plain", "AP50"), ("toolbox", "AP50_toolbox")):
        assert 0 < results[metric] == 100 * from_file[key]["ap"] < 100
        for values in ("precision", "recall", "scores"):
            assert curves[metric][values] == from_file[key][values]
    assert from_file["toolbox"]["counted_faces"] < from_file["plain"]["counted_faces"] < 120


def _worker(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    results = run(VocApEvaluator(NAME, task="afw"), image_ids="ab"[rank])
    (Path(folder) / f"{rank}.json").write_text(json.dumps(results))
    leave_process_group()


def test_two_workers_give_the_results_of_one(tmp_path):
    register("afw")
    # Forked, they need not import torch again, and know the data set.
    torch.multiprocessing.start_processes(
        _worker, args=(str(tmp_path),), nprocs=2, start_method="fork"
    )
    assert json.loads((tmp_path / "0.json").read_text()) == {
        "afw": {"AP50": 25.0, "AP50_toolbox": 25.0}
    }
    assert json.loads((tmp_path / "1.json").read_text()) == {}
