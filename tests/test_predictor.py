"""The predictor against the route of evaluation, and against swapped channels."""

import numpy as np
import pytest
import torch
from PIL import Image

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.data.dataset_mapper import FaceDatasetMapper
from srn_d2.engine import SRNTrainer
from srn_d2.predictor import FacePredictor

FIRST_CONV = "backbone.bottom_up.stem.conv1.weight"


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (70, 110, 3), dtype=np.uint8)


def save_weights(cfg, folder, change=lambda state: None):
    """Save seeded random weights of ``cfg``'s model, after ``change``; returns the file's path."""
    torch.manual_seed(0)
    model = SRNTrainer.build_model(cfg)
    state = model.state_dict()
    change(state)
    model.load_state_dict(state)
    SRNCheckpointer(model, str(folder)).save("model")
    return str(folder / "model.pth")


def with_weights(cfg, folder, **kwargs):
    cfg.MODEL.WEIGHTS = save_weights(cfg, folder, **kwargs)
    return cfg


def assert_same_detections(left, right, atol=1e-3):
    assert len(left) == len(right) > 0
    torch.testing.assert_close(left.scores, right.scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(left.pred_boxes.tensor, right.pred_boxes.tensor, rtol=0, atol=atol)


def test_the_network_is_compiled_where_the_config_asks_for_it(small_cfg, tmp_path, image):
    cfg = with_weights(small_cfg(), tmp_path)
    expected = FacePredictor(cfg)(image)
    cfg.TEST.COMPILE = True
    predictor = FacePredictor(cfg)
    model = predictor.single_scale_model
    assert {"scores", "deltas"} <= set(vars(model.head))
    assert "forward" in vars(model.backbone.bottom_up)
    # The image is so small that it sees the network as it is.
    assert_same_detections(predictor(image), expected)


@pytest.mark.parametrize("min_size", [0, 96])
def test_it_detects_what_evaluation_detects(small_cfg, tmp_path, image, min_size):
    cfg = with_weights(small_cfg("INPUT.MIN_SIZE_TEST", min_size), tmp_path)
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path)
    sample = FaceDatasetMapper(cfg, is_train=False)({"file_name": str(path)})
    predictor = FacePredictor(cfg)
    with torch.no_grad():
        [wanted] = predictor.model([sample])
    detections = predictor(image)
    assert detections.image_size == image.shape[:2]
    assert_same_detections(detections, wanted["instances"])


def test_boxes_are_in_the_original_image_whatever_the_network_sees(small_cfg, tmp_path, image):
    cfg = with_weights(small_cfg("INPUT.MIN_SIZE_TEST", 280, "INPUT.MAX_SIZE_TEST", 440), tmp_path)
    boxes = FacePredictor(cfg)(image).pred_boxes.tensor
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 110
    assert boxes[:, 3].max() <= 70
    assert boxes[:, 2].max() > 80, "boxes of a four times larger image, scaled back"


def test_a_bgr_model_sees_the_same_rgb_image(small_cfg, tmp_path, image):
    def swap(state):
        state[FIRST_CONV] = state[FIRST_CONV].flip(1)

    rgb, bgr = small_cfg(), small_cfg("INPUT.FORMAT", "BGR")
    bgr.MODEL.PIXEL_MEAN = rgb.MODEL.PIXEL_MEAN[::-1]
    bgr.MODEL.PIXEL_STD = rgb.MODEL.PIXEL_STD[::-1]
    (tmp_path / "rgb").mkdir()
    (tmp_path / "bgr").mkdir()
    from_rgb = FacePredictor(with_weights(rgb, tmp_path / "rgb"))(image)
    from_bgr = FacePredictor(with_weights(bgr, tmp_path / "bgr", change=swap))(image)
    assert_same_detections(from_rgb, from_bgr)


def test_no_absent_and_unfitting_weights_are_refused(small_cfg, tmp_path):
    cfg = small_cfg()
    with pytest.raises(ValueError, match=r"MODEL\.WEIGHTS"):
        FacePredictor(cfg)
    cfg.MODEL.WEIGHTS = str(tmp_path / "absent.pth")
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        FacePredictor(cfg)
    wider = with_weights(small_cfg("MODEL.SRN.C7_CHANNELS", 24), tmp_path)
    cfg.MODEL.WEIGHTS = wider.MODEL.WEIGHTS
    with pytest.raises(ValueError, match="24"):
        FacePredictor(cfg)
