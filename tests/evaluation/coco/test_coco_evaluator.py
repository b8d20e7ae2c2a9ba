"""CocoFaceEvaluator: detectron2's side of COCO-style AP."""

import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import print_csv_format
from detectron2.structures import Boxes, BoxMode, Instances

from helpers.wider_face_mat import write_ground_truth
from srn_d2.evaluation import CocoFaceEvaluator
from srn_d2.evaluation.coco.evaluator import RESULTS_FILE_NAME
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth

NAME = "coco_face_evaluation_test"
FACES = {"a": [(10, 10, 20, 30)], "b": [(5, 5, 40, 40), (100, 100, 20, 30)], "c": []}  # XYWH


def dataset_dicts():
    return [
        {
            "file_name": f"{image_id}.jpg",
            "image_id": image_id,
            "annotations": [
                {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 0}
                for box in boxes
            ],
        }
        for image_id, boxes in FACES.items()
    ]


@pytest.fixture
def dataset():
    DatasetCatalog.register(NAME, dataset_dicts)
    MetadataCatalog.get(NAME).set(thing_classes=["face"], evaluator_type="coco_face")
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def output(boxes_xywh, scores):
    boxes = torch.tensor(boxes_xywh, dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    instances = Instances((200, 200))
    instances.pred_boxes = Boxes(boxes)
    instances.scores = torch.tensor(scores, dtype=torch.float32)
    instances.pred_classes = torch.zeros(len(scores), dtype=torch.int64)
    return {"instances": instances}


# Image b: a false positive above both faces; image c: one below all.
OUTPUTS = {
    "a": output(FACES["a"], [0.9]),
    "b": output([(60, 60, 10, 10), *FACES["b"]], [0.95, 0.8, 0.7]),
    "c": output([(0, 0, 10, 10)], [0.1]),
}
# Precision 1/2, 2/3, 3/4 at recall 1/3, 2/3, 1; its envelope is 3/4 everywhere.
EXPECTED_AP = 75.0


def run(evaluator, image_ids="abc", outputs=OUTPUTS):
    evaluator.reset()
    for image_id in image_ids:
        evaluator.process([{"image_id": image_id}], [outputs[image_id]])
    return evaluator.evaluate()


def test_results(dataset, caplog, capsys):
    with caplog.at_level(logging.INFO):
        results = run(CocoFaceEvaluator(dataset))
    assert list(results["bbox"]) == ["AP", "AP50", "AP60", "AP70", "AP80"]
    np.testing.assert_allclose(list(results["bbox"].values()), EXPECTED_AP)
    assert "AP60" in caplog.text
    assert "3 faces in 3 images, 5 detections" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        print_csv_format(results)
    assert "AP,AP50,AP60,AP70,AP80" in caplog.text  # no name was hidden


def test_saved_detections(dataset, tmp_path):
    folder = tmp_path / "inference"
    run(CocoFaceEvaluator(dataset, str(folder)))
    assert [path.name for path in folder.iterdir()] == [RESULTS_FILE_NAME]
    saved = json.loads((folder / RESULTS_FILE_NAME).read_text())
    assert len(saved) == 5
    assert saved[0] == {
        "image_id": "a",
        "category_id": 0,
        "bbox": [10.0, 10.0, 20.0, 30.0],
        "score": pytest.approx(0.9),
    }


def test_saved_category_is_the_data_sets(dataset, tmp_path):
    MetadataCatalog.get(dataset).thing_dataset_id_to_contiguous_id = {7: 0}
    run(CocoFaceEvaluator(dataset, str(tmp_path)))
    saved = json.loads((tmp_path / RESULTS_FILE_NAME).read_text())
    assert {record["category_id"] for record in saved} == {7}


def test_no_detections_at_all(dataset, tmp_path):
    nothing = {image_id: output([], []) for image_id in FACES}
    results = run(CocoFaceEvaluator(dataset, str(tmp_path)), outputs=nothing)
    assert set(results["bbox"].values()) == {0.0}
    assert json.loads((tmp_path / RESULTS_FILE_NAME).read_text()) == []
    assert set(run(CocoFaceEvaluator(dataset), image_ids="")["bbox"].values()) == {0.0}


def test_no_faces_is_nan(dataset, monkeypatch):
    monkeypatch.setitem(FACES, "a", [])
    monkeypatch.setitem(FACES, "b", [])
    assert all(math.isnan(value) for value in run(CocoFaceEvaluator(dataset))["bbox"].values())


def test_reset_forgets(dataset):
    evaluator = CocoFaceEvaluator(dataset)
    assert run(evaluator) == run(evaluator)


def test_bad_values_are_named_and_left_out(dataset, caplog):
    outputs = dict(OUTPUTS)
    outputs["a"] = output([*FACES["a"], (1, 1, 5, 5), (2, math.inf, 5, 5)], [0.9, math.nan, 1.0])
    outputs["c"] = output([(50, 50, 0, 10)], [0.1])
    results = run(CocoFaceEvaluator(dataset), outputs=outputs)
    np.testing.assert_allclose(list(results["bbox"].values()), EXPECTED_AP)
    assert "'a': 2 detections with a NaN or infinite" in caplog.text
    assert "1 detections have zero or negative size" in caplog.text


def test_missing_images_count_without_detections(dataset, caplog):
    results = run(CocoFaceEvaluator(dataset), image_ids="ac")
    assert results["bbox"]["AP50"] == pytest.approx(100 * 34 / 101)  # recall points up to 1/3
    assert "1 of 3 images" in caplog.text
    assert "'b'" in caplog.text


def test_wrong_use_is_named(dataset):
    with pytest.raises(ValueError, match="'a' was processed twice"):
        run(CocoFaceEvaluator(dataset), image_ids="aa")
    with pytest.raises(ValueError, match="'x' first, are not in coco_face"):
        run(CocoFaceEvaluator(dataset), image_ids="x", outputs={"x": output([], [])})
    with pytest.raises(ValueError, match=r"in \(0, 1\], not \[50\]"):
        CocoFaceEvaluator(dataset, iou_thresholds=[50])


@pytest.fixture
def wider_face(dataset, tmp_path):
    """The data set with official ground truth: Easy counts b's first face, Hard all three."""
    boxes = {key: np.array(rows, np.int32).reshape(-1, 4) for key, rows in FACES.items()}
    hard = {key: np.ones(len(rows), bool) for key, rows in FACES.items()}
    easy = {**hard, "a": np.array([False]), "b": np.array([True, False])}
    names = {key: f"0--Parade/{key}" for key in FACES}

    def renamed(per_image):
        return {names[key]: value for key, value in per_image.items()}

    ground_truth = WiderFaceGroundTruth(
        renamed(boxes),
        {"easy": renamed(easy), "medium": renamed(easy), "hard": renamed(hard)},
        {"invalid": renamed({key: np.zeros(len(rows), np.int64) for key, rows in FACES.items()})},
    )
    write_ground_truth(tmp_path / "ground_truth", ground_truth)
    DatasetCatalog.remove(dataset)
    DatasetCatalog.register(
        dataset, lambda: [{**d, "image_id": names[d["image_id"]]} for d in dataset_dicts()]
    )
    MetadataCatalog.remove(dataset)
    MetadataCatalog.get(dataset).set(
        evaluator_type="widerface", ground_truth_dir=str(tmp_path / "ground_truth")
    )
    return renamed(OUTPUTS)


def test_wider_face_subsets(dataset, wider_face, caplog):
    with caplog.at_level(logging.INFO):
        results = run(CocoFaceEvaluator(dataset), wider_face, wider_face)
    assert list(results) == ["bbox", "bbox_easy", "bbox_medium", "bbox_hard"]
    assert results["bbox_hard"] == results["bbox"]
    np.testing.assert_allclose(list(results["bbox"].values()), EXPECTED_AP)
    # The false positive, then the one face that counts; the other faces' detections are ignored.
    np.testing.assert_allclose(list(results["bbox_easy"].values()), 50)
    assert "bbox_easy: 1 faces in 3 images" in caplog.text
    assert not any("-" in name for task in results.values() for name in task)


def test_wider_face_without_ground_truth(dataset, wider_face, tmp_path, caplog):
    (tmp_path / "ground_truth" / "wider_hard_val.mat").unlink()
    with caplog.at_level(logging.INFO):
        assert list(run(CocoFaceEvaluator(dataset), wider_face, wider_face)) == ["bbox"]
    assert "over all faces of coco_face_evaluation_test only" in caplog.text
    assert "wider_hard_val.mat" in caplog.text


def test_wider_face_images_of_another_split(dataset, wider_face, caplog):
    DatasetCatalog.remove(dataset)
    DatasetCatalog.register(dataset, dataset_dicts)
    with caplog.at_level(logging.INFO):
        assert list(run(CocoFaceEvaluator(dataset))) == ["bbox"]
    assert "3 images, 'a' first, are not in" in caplog.text


def _worker(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    results = run(CocoFaceEvaluator(NAME), image_ids=["ac", "b"][rank])
    (Path(folder) / f"{rank}.json").write_text(json.dumps(results))


def test_two_workers_give_the_results_of_one(dataset, tmp_path):
    # Forked, they need not import torch again, and know the data set.
    torch.multiprocessing.start_processes(
        _worker, args=(str(tmp_path),), nprocs=2, start_method="fork"
    )
    assert json.loads((tmp_path / "0.json").read_text()) == run(CocoFaceEvaluator(dataset))
    assert json.loads((tmp_path / "1.json").read_text()) == {}
