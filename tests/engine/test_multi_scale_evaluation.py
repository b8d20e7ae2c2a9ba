"""TEST.SRN_TTA.ENABLED in train_net.py --eval-only and in the predictor behind the tools."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.detections import assert_same_detections
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.config import build_cfg
from srn_d2.engine import SRNTrainer
from srn_d2.inference.predictor import FacePredictor
from srn_d2.inference.test_time_augmentation import SRNWithTTA

CONFIG = "configs/srn_R18.yaml"
OPTIONS = [
    *("MODEL.DEVICE", "cpu", "MODEL.FPN.OUT_CHANNELS", "8", "MODEL.SRN.C6_CHANNELS", "8"),
    *("MODEL.SRN.C7_CHANNELS", "8", "SOLVER.CPU_BFLOAT16", "False", "DATALOADER.NUM_WORKERS", "0"),
    *("DATASETS.TEST", "('widerface_val',)"),
    *("TEST.SRN_TTA.ENABLED", "True", "TEST.SRN_TTA.MAX_SIZE", "170"),
]


@pytest.fixture
def cfg(repo_root, tmp_path):
    """The config of a tiny model with random weights on disk."""
    cfg = build_cfg(str(repo_root / CONFIG), OPTIONS)
    torch.manual_seed(0)
    SRNCheckpointer(SRNTrainer.build_model(cfg), str(tmp_path)).save("model")
    cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    return cfg


@pytest.fixture
def model(cfg):
    model = SRNTrainer.build_model(cfg).eval()
    SRNCheckpointer(model, strict=True).load(cfg.MODEL.WEIGHTS)
    return model


def detect(model, image):
    with torch.no_grad():
        [output] = model([{"image": torch.from_numpy(image.transpose(2, 0, 1).copy())}])
    return output["instances"]


def test_eval_only_writes_what_the_views_show(cfg, model, tiny_datasets, call_train_net, tmp_path):
    output = tmp_path / "output"
    files = ("MODEL.WEIGHTS", cfg.MODEL.WEIGHTS, "OUTPUT_DIR", str(output))
    call_train_net(tiny_datasets, "--config-file", CONFIG, "--eval-only", *OPTIONS, *files)
    [path] = output.rglob("coco_instances_results.json")
    written = json.loads(path.read_text(encoding="utf-8"))
    images = tiny_datasets / "widerface" / "WIDER_val" / "images"
    tta = SRNWithTTA(cfg, model).eval()
    for image_path in sorted(images.rglob("*.jpg")):
        found = detect(tta, np.asarray(Image.open(image_path)))
        rows = [
            [*x["bbox"], x["score"]]
            for x in written
            if str(x["image_id"]).endswith(f"/{image_path.stem}")
        ]
        x, y, width, height, scores = np.transpose(rows)
        boxes = np.stack([x, y, x + width, y + height], axis=1)
        assert_same_detections((boxes, scores), found)
        assert len(detect(model, np.asarray(Image.open(image_path)))) != len(found)


def test_the_predictor_looks_at_the_views(cfg, model):
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    wanted = detect(SRNWithTTA(cfg, model).eval(), image)
    found = FacePredictor(cfg)(image)
    assert_same_detections(found, wanted)
    cfg.TEST.SRN_TTA.ENABLED = False
    single, plain = FacePredictor(cfg)(image), detect(model, image)
    assert_same_detections(single, plain)
    assert len(single) != len(found)
