"""FddbEvaluator: results, files, and detections that cannot be used."""

import json
import logging
import math

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances

from helpers.plain_fddb import official_overlap
from srn_d2.cli import main
from srn_d2.config import add_srn_config
from srn_d2.data.datasets.benchmarks import register_benchmarks
from srn_d2.evaluation import build_evaluator
from srn_d2.evaluation.fddb.evaluator import FddbEvaluator, write_curves
from srn_d2.evaluation.fddb.roc import FddbCurves

# Face j of fold i is upright, half as wide as high, and lies this far into the picture.
FACES = [(24.0, 16.0, 1.5708, 40.0 + fold, 40.0) for fold in range(1, 11)]


@pytest.fixture
def dataset(tmp_path):
    """The ten folds, an image of one face each, in the official layout."""
    root = tmp_path / "fddb"
    (root / "FDDB-folds").mkdir(parents=True)
    for fold, face in enumerate(FACES, start=1):
        name = f"2002/08/11/big/img_{fold}"
        path = root / "originalPics" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((100, 120, 3), np.uint8))
        text = f"{name}\n1\n" + " ".join(map(str, face)) + "  1\n"
        (root / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt").write_text(text)
    register_benchmarks(tmp_path)
    yield "fddb"
    register_benchmarks()


def instances(boxes, scores):
    result = Instances((100, 120))
    result.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    result.scores = torch.tensor(scores, dtype=torch.float32)
    result.pred_classes = torch.zeros(len(scores), dtype=torch.int64)
    return {"instances": result}


def detector_box(face):
    """A detector's box of the face: from the brows to the chin, 80 % of the ellipse's height."""
    major, minor, _, x, y = face
    return [x - minor, y - 0.6 * major, x + minor, y + major]


def run(evaluator, detections):
    """Evaluate {fold: (boxes, scores)} on the ten images."""
    evaluator.reset()
    for fold, (boxes, scores) in detections.items():
        inputs = [{"image_id": f"2002/08/11/big/img_{fold}", "height": 100, "width": 120}]
        evaluator.process(inputs, [instances(boxes, scores)])
    return evaluator.evaluate()


def test_evaluator(dataset, tmp_path, caplog):
    detections = {
        fold: ([detector_box(face), [80, 80, 95, 95]], [0.9, 0.1])
        for fold, face in enumerate(FACES, start=1)
    }
    cfg = get_cfg()
    add_srn_config(cfg)
    evaluator = build_evaluator(cfg, dataset, str(tmp_path / "out"))
    with caplog.at_level(logging.INFO):
        results = run(evaluator, detections)["fddb"]
    face, box = np.array(FACES[0]), np.array(detector_box(FACES[0]))
    expected = 100 * official_overlap(face, box, (100, 120))
    assert results["Disc1000"] == 100
    assert results["Cont1000"] == pytest.approx(expected)
    assert results["Cont1000_learned"] > 95 > results["Cont1000_fixed"] > results["Cont1000"] + 5
    assert not any("-" in name for name in results)
    assert results["Cont1000_optimal"] == results["Cont1000"]
    assert "| box       | difference" in caplog.text
    assert "10 faces in 10 images" in caplog.text
    assert "fewer than 1000 false positives" in caplog.text
    # The curve, from the lowest score up: rate, false positives, score.
    curve = np.loadtxt(tmp_path / "out" / "fddb_box_ContROC.txt")
    np.testing.assert_allclose(curve, [[expected / 100, 10, 0.1], [expected / 100, 0, 0.9]], 1e-5)
    text = (tmp_path / "out" / "fold-03-out.txt").read_text().splitlines()
    assert text[:2] == ["2002/08/11/big/img_3", "2"]
    np.testing.assert_allclose(
        np.array(text[2].split(), float), [27, 25.6, 32, 38.4, 0.9], rtol=2e-7
    )
    assert (tmp_path / "out" / "image_sizes.txt").read_text().split()[:3] == [
        "2002/08/11/big/img_1",
        "120",
        "100",
    ]


def test_written_curves_end_at_10000_false_positives(tmp_path):
    thresholds = np.linspace(1, 0, 12_001)
    zeros = np.zeros(12_001)
    curves = FddbCurves(thresholds, np.arange(12_001), zeros, zeros, 1)
    write_curves(tmp_path, "all", curves)
    assert np.loadtxt(tmp_path / "all_DiscROC.txt")[[0, -1], 1].tolist() == [10_000, 0]


def test_results_are_those_of_the_written_files(dataset, tmp_path, capsys):
    """To the last digit, by the command, with numbers that are not short and a face without
    area, which is none of the data set's annotations but counts."""
    path = tmp_path / "fddb" / "FDDB-folds" / "FDDB-fold-02-ellipseList.txt"
    path.write_text(path.read_text().replace("\n1\n", "\n2\n") + "0 5 0 20 20 1\n")
    rng = np.random.default_rng(4)
    detections = {
        fold: (np.array(detector_box(face)) + rng.normal(0, 3, (5, 4)), rng.uniform(size=5))
        for fold, face in enumerate(FACES[:9], start=1)
    }
    results = run(FddbEvaluator(dataset, str(tmp_path / "out")), detections)["fddb"]
    arguments = ["--annotations", str(path.parent), "--predictions", str(tmp_path / "out")]
    output = tmp_path / "report"
    assert main(["evaluate", "--protocol", "fddb", *arguments, "--output", str(output)]) == 0
    assert "1 images of 10 annotated ones have no detections" not in capsys.readouterr().err
    from_files = json.loads((output / "results.json").read_text())["methods"]["out"]
    assert from_files["official"]["num_faces"] == 11
    for mode, suffix in (("official", ""), ("optimal", "_optimal")):
        for name in ("Disc1000", "Cont1000"):
            assert results[f"{name}{suffix}"] == 100 * from_files[mode][name]


def test_learned_map_does_not_see_its_own_fold(dataset):
    """Only fold 1 is found, so that fold 1 itself has nothing to learn from."""
    results = run(FddbEvaluator(dataset), {1: ([detector_box(FACES[0])], [0.9])})["fddb"]
    assert results["Disc1000"] == 10
    assert "Disc1000_fixed" in results
    assert "Disc1000_learned" not in results


def test_bad_detections_are_named(dataset, caplog):
    good = detector_box(FACES[0])
    boxes = [good, good, [10, 10, 10, 30], [0, 0, math.inf, 5]]
    with caplog.at_level(logging.WARNING):
        results = run(FddbEvaluator(dataset), {1: (boxes, [0.5, math.nan, 0.9, 0.8])})
    assert "Image '2002/08/11/big/img_1': 2 detections with a NaN or infinite" in caplog.text
    assert "1 detections have zero or negative size" in caplog.text
    assert "9 of 10 images of fddb, '2002/08/11/big/img_2' first, were not processed" in caplog.text
    assert results["fddb"]["Disc1000"] == 10


def test_unknown_and_repeated_images(dataset):
    evaluator = FddbEvaluator(dataset)
    with pytest.raises(ValueError, match="1 image ids, '2002/08/11/big/img_99' first"):
        run(evaluator, {99: ([], [])})
    run(evaluator, {1: ([], [])})
    evaluator.process([{"image_id": "2002/08/11/big/img_1"}], [instances([], [])])
    with pytest.raises(ValueError, match="processed twice"):
        evaluator.evaluate()


def test_registration(dataset):
    assert MetadataCatalog.get(dataset).evaluator_type == "fddb"
    images = DatasetCatalog.get(dataset)
    assert [image["fold"] for image in images] == list(range(1, 11))
    assert images[4]["annotations"][0]["ellipse"] == list(FACES[4])
