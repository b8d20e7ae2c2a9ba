"""WiderFaceEvaluator: detectron2's side of the official WIDER FACE protocol."""

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

from helpers.wider_face_mat import make_ground_truth, write_ground_truth
from srn_d2.cli import main
from srn_d2.evaluation.predictions.folders import read_predictions
from srn_d2.evaluation.widerface.ap import evaluate_wider_face
from srn_d2.evaluation.widerface.evaluator import (
    PREDICTIONS_FOLDER_NAME,
    WiderFaceEvaluator,
    metric_name,
)

NAME = "wider_face_evaluation_test"
SQUARE, TALL = [10, 10, 9, 9], [40, 10, 9, 15]
BOXES = {"0--A/x": [SQUARE, TALL], "0--A/y": [SQUARE], "1--B/z": [TALL], "1--B/no": []}
# Easy: the squares; medium: all but 1--B/z; hard: all.
COUNTED = {"easy": {"0--A/x": [1], "1--B/z": []}, "medium": {"1--B/z": []}}
# On TALL this has IoU 100 / 160: enough for 0.5 and 0.6.
PART_OF_TALL = [40, 10, 9, 9]


def output(boxes_xywh: list, scores: list) -> dict:
    boxes = torch.tensor(boxes_xywh, dtype=torch.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    instances = Instances((100, 100), pred_boxes=Boxes(boxes), scores=torch.tensor(scores))
    instances.pred_classes = torch.zeros(len(scores), dtype=torch.int64)
    return {"instances": instances}


OUTPUTS = {
    "0--A/x": output([SQUARE, PART_OF_TALL, [70, 70, 9, 9]], [0.9, 0.7, 0.8]),
    "0--A/y": output([SQUARE], [0.6]),
    "1--B/z": output([PART_OF_TALL], [0.5]),
    "1--B/no": output([SQUARE], [0.1]),
}


def dataset_dicts(boxes: dict = BOXES) -> list[dict]:
    return [
        {
            "file_name": f"{image_id}.jpg",
            "image_id": image_id,
            "annotations": [
                {"bbox": box, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "ignore": False}
                for box in faces
            ],
        }
        for image_id, faces in boxes.items()
    ]


def register(dicts: list[dict], **metadata) -> None:
    DatasetCatalog.register(NAME, lambda: dicts)
    MetadataCatalog.get(NAME).set(thing_classes=["face"], evaluator_type="widerface", **metadata)


@pytest.fixture
def registered():
    """Registers data sets under NAME; removes the last one."""

    def register_again(dicts: list[dict], **metadata) -> None:
        unregister()
        register(dicts, **metadata)

    yield register_again
    unregister()


def unregister() -> None:
    if NAME in DatasetCatalog.list():
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


@pytest.fixture
def ground_truth_dir(tmp_path):
    write_ground_truth(tmp_path / "truth", make_ground_truth(BOXES, COUNTED))
    return str(tmp_path / "truth")


def run(evaluator: WiderFaceEvaluator, outputs: dict = OUTPUTS) -> dict:
    evaluator.reset()
    for image_id, result in outputs.items():
        evaluator.process([{"image_id": image_id}], [result])
    return evaluator.evaluate()


def test_results_are_the_protocols_in_percent(registered, ground_truth_dir):
    registered(dataset_dicts(), ground_truth_dir=ground_truth_dir)
    results = run(WiderFaceEvaluator(NAME, iou_thresholds=(0.5, 0.6, 0.7)))["widerface"]
    names = ["Easy", "Medium", "Hard"]
    assert list(results) == [n + suffix for suffix in ("", "60", "70") for n in names]
    # In order of score: square, a false positive, tall, square, tall.
    assert results["Easy"] == pytest.approx(100 * (1 / 2 + 1 / 2 * 2 / 3))
    assert results["Medium"] == pytest.approx(100 * (1 / 3 + 2 / 3 * 3 / 4))
    assert results["Hard"] == pytest.approx(100 * (1 / 4 + 3 / 4 * 4 / 5))
    assert results["Hard60"] == results["Hard"]
    assert results["Hard70"] == pytest.approx(100 * (1 / 4 + 1 / 4 * 2 / 4))


@pytest.mark.parametrize("image_ids", [tuple(BOXES), ("0--A/y", "1--B/z")])
def test_results_are_those_of_the_written_files(registered, ground_truth_dir, tmp_path, image_ids):
    """To the last digit, by the command, with numbers of many digits; of all images and of some."""
    rng = np.random.default_rng(6)
    outputs = {
        image_id: output(
            (np.array([*faces, SQUARE, TALL]) + rng.normal(0, 0.7, (len(faces) + 2, 4))).tolist(),
            rng.uniform(size=len(faces) + 2).tolist(),
        )
        for image_id, faces in BOXES.items()
        if image_id in image_ids
    }
    registered(dataset_dicts({i: BOXES[i] for i in image_ids}), ground_truth_dir=ground_truth_dir)
    iou_thresholds = 0.5, 0.6, 0.7
    evaluator = WiderFaceEvaluator(NAME, str(tmp_path), iou_thresholds=iou_thresholds)
    results = run(evaluator, outputs)["widerface"]
    (tmp_path / "list.txt").write_text("\n".join(image_ids))
    files = ["--predictions", tmp_path / PREDICTIONS_FOLDER_NAME, "--output", tmp_path / "report"]
    files += ["--ground-truth", ground_truth_dir, "--image-list", tmp_path / "list.txt"]
    assert main(["evaluate", *map(str, files), "--iou", *map(str, iou_thresholds)]) == 0
    curves = json.loads((tmp_path / "report" / "results.json").read_text())["methods"]
    (report,) = json.loads((tmp_path / "report" / "report.json").read_text())
    for setting in ("easy", "medium", "hard"):
        curve = curves[PREDICTIONS_FOLDER_NAME][setting]
        assert 100 * curve["ap"] == results[metric_name(setting, 0.5)] > 0
        assert len(curve["precision"]) == len(curve["recall"]) == 1000
        for threshold in iou_thresholds:
            ap = report["settings"][setting]["ap"][f"{threshold:g}"]
            assert 100 * ap == results[metric_name(setting, threshold)]


def test_part_of_the_validation_set_counts_alone(registered, ground_truth_dir):
    registered(dataset_dicts({i: BOXES[i] for i in ("0--A/y", "1--B/z")}))
    evaluator = WiderFaceEvaluator(NAME, ground_truth_dir=ground_truth_dir)
    results = run(evaluator)["widerface"]  # the outputs for other images are left out
    assert results == {"Easy": 100, "Medium": 100, "Hard": 100}


def test_images_of_other_data_sets_are_left_out_of_the_score_range(registered, ground_truth_dir):
    boxes = {i: BOXES[i] for i in ("0--A/x", "0--A/y")}
    registered(dataset_dicts(boxes), ground_truth_dir=ground_truth_dir)
    outputs = {**OUTPUTS, "1--B/z": output([SQUARE], [1e6])}
    assert run(WiderFaceEvaluator(NAME), outputs)["widerface"]["Medium"] > 80


def test_without_ground_truth_files_all_faces_count(registered, tmp_path, caplog):
    dicts = dataset_dicts()
    dicts[0]["annotations"][0]["ignore"] = True
    dicts[2]["annotations"][0]["iscrowd"] = 1
    registered(dicts, ground_truth_dir=str(tmp_path / "nowhere"))
    with caplog.at_level(logging.WARNING):
        evaluator = WiderFaceEvaluator(NAME, iou_thresholds=(0.5, 0.7))
    assert "ALL FACES of its annotations count instead" in caplog.text
    assert "nowhere lacks wider_face_val.mat, wider_easy_val.mat" in caplog.text
    results = run(evaluator)["widerface"]
    # Two faces count; the ignored ones take their detections: false positive, tall, square.
    assert results["All"] == pytest.approx(100 * 2 / 3)
    assert results["All70"] == pytest.approx(100 * 1 / 2 * 1 / 3)


def test_images_outside_the_ground_truth_make_all_faces_count(registered, ground_truth_dir, caplog):
    registered(dataset_dicts({**BOXES, "9--X/new": [SQUARE]}), ground_truth_dir=ground_truth_dir)
    with caplog.at_level(logging.WARNING):
        results = run(WiderFaceEvaluator(NAME))
    assert list(results["widerface"]) == ["All"]
    assert "1 images, '9--X/new' first, are not in" in caplog.text


def test_faces_that_are_no_integers_are_matched_in_floating_point(registered, caplog):
    dicts = dataset_dicts({"a": []})
    box = {"bbox": [10.5, 10.5, 20.0, 20.25], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0}
    dicts[0]["annotations"] = [box]
    registered(dicts)
    with caplog.at_level(logging.WARNING):
        results = run(
            WiderFaceEvaluator(NAME),
            {"a": output([[10.5, 10.5, 9.5, 9.75], [50, 50, 9, 9]], [0.5, 0.4])},
        )
    assert results["widerface"] == {"All": 100}
    assert "floating point" in caplog.text


def test_data_set_without_any_face_gives_nan(registered):
    registered(dataset_dicts({"a": [], "b": []}))
    results = run(WiderFaceEvaluator(NAME), {"a": output([SQUARE], [0.5])})
    assert math.isnan(results["widerface"]["All"])


def test_predictions_are_written_as_official_files(registered, ground_truth_dir, tmp_path):
    registered(dataset_dicts(), ground_truth_dir=ground_truth_dir)
    scores = torch.rand(3, generator=torch.Generator().manual_seed(0))
    boxes = [[10.1, 9.7, 9.3, 9.9], [40.4, 10.6, 9.2, 9.1], [1 / 3, 2 / 3, 9, 9]]
    outputs = {**OUTPUTS, "0--A/x": output(boxes, scores.tolist())}
    results = run(WiderFaceEvaluator(NAME, str(tmp_path / "out")), outputs)["widerface"]

    folder = read_predictions(tmp_path / "out" / PREDICTIONS_FOLDER_NAME, BOXES)
    assert folder.warnings() == []
    expected = evaluate_wider_face(folder.predictions, make_ground_truth(BOXES, COUNTED))
    for setting, by_threshold in expected.items():
        assert results[metric_name(setting, 0.5)] == 100 * by_threshold[0.5].ap
    corners = outputs["0--A/x"]["instances"].pred_boxes.tensor.double().numpy()
    written = folder.predictions["0--A/x"]
    np.testing.assert_array_equal(written[:, :2] + written[:, 2:4], corners[:, 2:])


def test_odd_detections_are_named(registered, ground_truth_dir, caplog):
    registered(dataset_dicts(), ground_truth_dir=ground_truth_dir)
    outputs = {
        "0--A/x": output([SQUARE, SQUARE, [9, 9, -1, 4]], [math.nan, 0.9, 0.8]),
        "0--A/y": output([SQUARE], [math.inf]),
        "1--B/z": output([], []),
    }
    with caplog.at_level(logging.WARNING):
        results = run(WiderFaceEvaluator(NAME), outputs)["widerface"]
    for image_id in ("0--A/x", "0--A/y"):
        assert f"Image '{image_id}': 1 detections with a NaN or infinite score are" in caplog.text
    assert "1 of 4 images of wider_face_evaluation_test, '1--B/no' first, were not" in caplog.text
    assert "1 detections have zero or negative size" in caplog.text
    assert results["Easy"] == 50  # one of two faces is found first


def test_a_box_that_is_not_finite_is_a_false_positive(registered, ground_truth_dir, tmp_path):
    registered(dataset_dicts(), ground_truth_dir=ground_truth_dir)
    outputs = {"0--A/y": output([[math.nan, 9, 9, 9], SQUARE, SQUARE], [0.9, 0.8, 0.1])}
    results = run(WiderFaceEvaluator(NAME, str(tmp_path)), outputs)["widerface"]
    assert results["Easy"] == 25  # one of two faces, after the false positive
    assert (tmp_path / PREDICTIONS_FOLDER_NAME / "0--A" / "y.txt").read_text().count("nan") == 2


def test_an_image_that_is_processed_twice_is_refused(registered, ground_truth_dir):
    registered(dataset_dicts(), ground_truth_dir=ground_truth_dir)
    evaluator = WiderFaceEvaluator(NAME)
    run(evaluator)
    evaluator.process([{"image_id": "0--A/y"}], [OUTPUTS["0--A/y"]])
    with pytest.raises(ValueError, match="'0--A/y' was processed twice"):
        evaluator.evaluate()


def test_results_are_logged_as_tables(registered, ground_truth_dir, caplog):
    registered(dataset_dicts(), ground_truth_dir=ground_truth_dir)
    with caplog.at_level(logging.INFO):
        results = run(WiderFaceEvaluator(NAME, iou_thresholds=(0.5, 0.8)))
    for name in ("Easy", "Medium", "Hard"):
        assert name in caplog.text
    assert "Easy,Medium" not in caplog.text
    with caplog.at_level(logging.INFO):
        print_csv_format(results)
    assert "Easy,Medium,Hard,Easy80,Medium80,Hard80" in caplog.text


def test_reset_forgets_earlier_detections(registered, ground_truth_dir):
    registered(dataset_dicts(), ground_truth_dir=ground_truth_dir)
    evaluator = WiderFaceEvaluator(NAME)
    assert run(evaluator)["widerface"]["Hard"] > 0
    assert run(evaluator, {})["widerface"] == {"Easy": 0, "Medium": 0, "Hard": 0}


def test_metric_names_hold_no_hyphen():
    names = [metric_name("hard", iou) for iou in (0.5, 0.55, 0.6, 0.7, 0.75, 0.95)]
    assert names == ["Hard", "Hard55", "Hard60", "Hard70", "Hard75", "Hard95"]


@pytest.mark.parametrize("iou_thresholds", [(), (0.0,), (0.5, 1.1)])
def test_wrong_iou_thresholds_are_refused(registered, iou_thresholds):
    registered(dataset_dicts())
    with pytest.raises(ValueError, match="IoU thresholds"):
        WiderFaceEvaluator(NAME, iou_thresholds=iou_thresholds)


# --- several workers ----------------------------------------------------------------------------


def evaluate_share(rank: int, folder: str) -> None:
    """Evaluate a worker's share of the images and save the results."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    share = dict(list(OUTPUTS.items())[rank::2])
    results = [run(WiderFaceEvaluator(NAME, distributed=d), share) for d in (True, False)]
    Path(folder, f"{rank}.json").write_text(json.dumps(results))


def test_workers_are_gathered(registered, ground_truth_dir, tmp_path):
    registered(dataset_dicts(), ground_truth_dir=ground_truth_dir)
    alone = run(WiderFaceEvaluator(NAME))
    # Forked, they need not import torch again, and know the data set.
    torch.multiprocessing.start_processes(
        evaluate_share, args=(str(tmp_path),), nprocs=2, start_method="fork"
    )
    gathered, own_share = json.loads((tmp_path / "0.json").read_text())
    assert gathered == alone
    assert own_share["widerface"]["Hard"] < alone["widerface"]["Hard"]
    gathered, own_share = json.loads((tmp_path / "1.json").read_text())
    assert gathered == {}
    assert own_share["widerface"]["Hard"] < alone["widerface"]["Hard"]
