"""What is checked before the first iteration: each fault is one sentence that names the key."""

import logging

import pytest
import torch
from detectron2.data import DatasetCatalog
from torch import nn

from srn_d2.data.datasets.builtin import register_builtin_datasets
from srn_d2.data.datasets.common import register_face_dataset
from srn_d2.engine.checks import check_batch_norm, check_datasets, check_solver
from srn_d2.engine.schedule import adapt_schedule


@pytest.fixture
def registered(tiny_datasets):
    register_builtin_datasets(tiny_datasets)
    register_face_dataset("no_images", list, evaluator_type="coco_face")
    register_face_dataset("odd_type", lambda: [{"image_id": 1}], evaluator_type="voc")
    yield
    DatasetCatalog.remove("no_images")
    DatasetCatalog.remove("odd_type")
    register_builtin_datasets()


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("('widerface_trian',)", "()", r"DATASETS\.TRAIN: .*did you mean widerface_train"),
        ("('widerface_train',)", "('widerface_vall',)", r"DATASETS\.TEST: .*widerface_val"),
        ("()", "('widerface_val',)", r"DATASETS\.TRAIN is empty"),
        ("('widerface_train',)", "('fddb',)", "FDDB-folds|fddb"),
        ("('widerface_train',)", "('no_images',)", r"DATASETS\.TEST: no_images has no images"),
        ("('widerface_train',)", "('odd_type',)", "evaluator_type 'voc'"),
    ],
)
def test_data_sets_of_a_training(registered, small_cfg, train, test, message):
    cfg = small_cfg("DATASETS.TRAIN", train, "DATASETS.TEST", test)
    with pytest.raises((ValueError, OSError), match=message):
        check_datasets(cfg, is_training=True)


def test_only_what_will_be_read_is_checked(registered, small_cfg):
    names = ("DATASETS.TRAIN", "('absent',)", "DATASETS.TEST", "('widerface_val',)")
    check_datasets(small_cfg(*names), is_training=False)
    check_datasets(small_cfg("DATASETS.TEST", "()"), is_training=True)
    with pytest.raises(ValueError, match=r"DATASETS\.TEST is empty"):
        check_datasets(small_cfg("DATASETS.TEST", "()"), is_training=False)


def test_damaged_ground_truth_is_found_before_the_training(registered, small_cfg, tmp_path):
    from detectron2.data import MetadataCatalog

    (tmp_path / "wider_face_val.mat").write_bytes(b"no MATLAB file")
    for setting in ("easy", "medium", "hard"):
        (tmp_path / f"wider_{setting}_val.mat").write_bytes(b"no MATLAB file")
    metadata = MetadataCatalog.get("widerface_val").as_dict()
    load = lambda: DatasetCatalog.get("widerface_val")  # noqa: E731
    metadata = {k: v for k, v in metadata.items() if k not in ("name", "thing_classes")}
    register_face_dataset("with_mat", load, **{**metadata, "ground_truth_dir": str(tmp_path)})
    with pytest.raises(ValueError, match=r"wider_\w+_val\.mat"):
        check_datasets(small_cfg("DATASETS.TEST", "('with_mat',)"), is_training=True)
    DatasetCatalog.remove("with_mat")


@pytest.mark.parametrize(
    ("metric", "tests", "warns"),
    [
        ("bbox/AP50", "('widerface_val',)", False),
        ("box/AP50", "('widerface_val',)", True),
        ("bbox/AP50", "('widerface_val', 'toyface_val')", True),
        ("widerface_val/bbox/AP50", "('widerface_val', 'toyface_val')", False),
        ("", "('widerface_val',)", False),
    ],
)
def test_a_best_metric_of_no_task_is_a_warning(
    registered, small_cfg, monkeypatch, caplog, metric, tests, warns
):
    from srn_d2.engine import checks

    monkeypatch.setattr(checks, "_check_test_set", lambda cfg, name: None)  # toyface is drawn
    cfg = small_cfg("TEST.BEST_METRIC", metric, "DATASETS.TEST", tests)
    check_datasets(cfg, is_training=True)
    assert ("TEST.BEST_METRIC" in caplog.text) == warns


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("SOLVER.MAX_ITER", 0),
        ("SOLVER.IMS_PER_BATCH", 0),
        ("SOLVER.CHECKPOINT_PERIOD", 0),
        ("SOLVER.BASE_LR", 0.0),
        ("SOLVER.BASE_LR", float("nan")),
        ("SOLVER.WARMUP_ITERS", -1),
        ("SOLVER.REFERENCE_WORLD_SIZE", 3),
        ("SOLVER.REFERENCE_WORLD_SIZE", -1),
        ("SOLVER.LR_SCHEDULER_NAME", "Cosine"),
        ("SOLVER.WARMUP_METHOD", "cubic"),
        ("SOLVER.STEPS", (20, 10)),
        ("SOLVER.BASE_LR_END", 1.0),
        ("SOLVER.CLIP_GRADIENTS.CLIP_TYPE", "l2"),
        ("TEST.EVAL_PERIOD", -1),
        ("DATALOADER.NUM_WORKERS", -1),
        ("INPUT.FACE_CROP_SIZE", 0),
        ("INPUT.FACE_PATCH_SCALES", (0.5,)),
        ("INPUT.FACE_MOSAIC_PROB", 1.5),
        ("INPUT.FACE_MOSAIC_PROB", float("nan")),
        ("MODEL.META_ARCHITECTURE", "SNR"),
        ("MODEL.BACKBONE.NAME", "resnet50"),
        ("MODEL.FPN.NORM", "BatchNorm"),
        ("MODEL.RESNETS.DEPTH", 19),
    ],
)
def test_impossible_values_name_the_key(small_cfg, key, value):
    cfg = small_cfg()
    check_solver(cfg)
    *sections, name = key.split(".")
    node = cfg
    for section in sections:
        node = node[section]
    node[name] = value
    with pytest.raises(ValueError, match=f"^{key} is ".replace(".", r"\.")):
        check_solver(cfg)


def test_a_mosaic_is_of_an_even_side(small_cfg):
    check_solver(small_cfg("INPUT.FACE_CROP_SIZE", 63))
    with pytest.raises(ValueError, match=r"^INPUT\.FACE_CROP_SIZE is 63.*FACE_MOSAIC_PROB.*even"):
        check_solver(small_cfg("INPUT.FACE_CROP_SIZE", 63, "INPUT.FACE_MOSAIC_PROB", 0.5))


@pytest.mark.parametrize(
    ("max_iter", "warmup", "expected"),
    [(100, 300, 10), (300, 300, 30), (301, 300, 300), (5, 10, 0), (1, 1, 0), (10, 0, 0)],
)
def test_a_warm_up_fits_into_the_training(small_cfg, caplog, max_iter, warmup, expected):
    cfg = small_cfg("SOLVER.MAX_ITER", max_iter, "SOLVER.WARMUP_ITERS", warmup)
    cfg.freeze()
    adapted = adapt_schedule(cfg, 1)
    assert expected == adapted.SOLVER.WARMUP_ITERS
    assert adapted.is_frozen()
    assert warmup == cfg.SOLVER.WARMUP_ITERS
    assert ("is shortened" in caplog.text) == (expected != warmup)


def test_rescaled_periods_never_become_0(small_cfg):
    cfg = small_cfg(
        *("SOLVER.REFERENCE_WORLD_SIZE", 1, "SOLVER.CHECKPOINT_PERIOD", 1, "SOLVER.MAX_ITER", 2),
        *("TEST.EVAL_PERIOD", 1, "SOLVER.WARMUP_ITERS", 0),
    )
    scaled = adapt_schedule(cfg, 8)
    assert (scaled.SOLVER.MAX_ITER, scaled.SOLVER.CHECKPOINT_PERIOD) == (1, 1)
    assert scaled.TEST.EVAL_PERIOD == 1
    assert scaled.SOLVER.IMS_PER_BATCH == 8 * cfg.SOLVER.IMS_PER_BATCH


@pytest.mark.parametrize(
    ("norm", "num_images", "warns"),
    [
        (nn.BatchNorm2d(2), 1, True),
        (nn.BatchNorm2d(2), 2, False),
        (nn.BatchNorm2d(2).eval(), 1, False),
        (nn.GroupNorm(1, 2), 1, False),
        (nn.SyncBatchNorm(2), 1, False),
    ],
)
def test_batch_norm_of_one_image_is_a_warning(caplog, norm, num_images, warns):
    with caplog.at_level(logging.WARNING):
        check_batch_norm(nn.Sequential(norm), num_images)
    assert ("SOLVER.IMS_PER_BATCH leaves one image" in caplog.text) == warns


def test_batch_norm_of_one_value_names_the_key(small_cfg, registered, tmp_path):
    from srn_d2.engine import SRNTrainer

    cfg = small_cfg(
        *("INPUT.FACE_CROP_SIZE", 64, "SOLVER.IMS_PER_BATCH", 1, "SOLVER.MAX_ITER", 1),
        *("DATALOADER.NUM_WORKERS", 0, "OUTPUT_DIR", str(tmp_path), "DATASETS.TEST", "()"),
    )
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"SOLVER\.IMS_PER_BATCH .*two images.*MODEL\.FPN\.NORM"):
        SRNTrainer(cfg).train()
