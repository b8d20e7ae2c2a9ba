"""build_evaluator: the evaluators of a data set by its metadata."""

import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog

from srn_d2.config import add_srn_config
from srn_d2.evaluation import CocoFaceEvaluator, build_evaluator
from srn_d2.evaluation.dataset_evaluator import DatasetFaceEvaluators
from srn_d2.evaluation.widerface.evaluator import WiderFaceEvaluator

NAME = "build_evaluator_test"


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    add_srn_config(cfg)
    cfg.OUTPUT_DIR = str(tmp_path)
    return cfg


@pytest.fixture
def register():
    def register(evaluator_type):
        DatasetCatalog.register(NAME, list)
        MetadataCatalog.get(NAME).set(
            evaluator_type=evaluator_type, thing_classes=["face"], ground_truth_dir="nowhere"
        )

    yield register
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def test_own_data_set(cfg, register, tmp_path):
    register("coco_face")
    cfg.TEST.FACE_IOU_THRESHOLDS = [0.5, 0.75]
    evaluator = build_evaluator(cfg, NAME)
    assert isinstance(evaluator, CocoFaceEvaluator)
    evaluator.reset()
    assert list(evaluator.evaluate()["bbox"]) == ["AP", "AP50", "AP75"]
    saved = tmp_path / "inference" / NAME / "coco_instances_results.json"
    assert saved.read_text() == "[]\n"


def test_wider_face_has_both_protocols(cfg, register, tmp_path):
    register("widerface")
    evaluator = build_evaluator(cfg, NAME, str(tmp_path / "out"))
    assert isinstance(evaluator, DatasetFaceEvaluators)
    assert [type(e) for e in evaluator._evaluators] == [CocoFaceEvaluator, WiderFaceEvaluator]
    evaluator.reset()
    assert {"bbox", "widerface"} <= set(evaluator.evaluate())


def test_unknown_type_names_the_known_ones(cfg, register):
    register("coco")
    with pytest.raises(
        ValueError, match=r"evaluator_type 'coco'; known are .*coco_face.*widerface"
    ):
        build_evaluator(cfg, NAME)
