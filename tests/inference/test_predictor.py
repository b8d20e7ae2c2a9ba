"""The predictor against the route of evaluation, swapped channels, and what it does in tiles."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.detections import assert_best_first, assert_same_detections
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.data.dataset_mapper import FaceDatasetMapper
from srn_d2.engine import SRNTrainer
from srn_d2.inference.detector import load_cfg
from srn_d2.inference.predictor import FacePredictor

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


@pytest.mark.numerics
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


@pytest.mark.numerics
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


# --- tiles ---------------------------------------------------------------------------------------


def watch(predictor):
    """A list to which the shape (N, 3, h, w) of each batch is added, as the network sees it."""
    seen = []
    predictor.single_scale_model.backbone.register_forward_pre_hook(
        lambda _, inputs: seen.append(tuple(inputs[0].shape))
    )
    return seen


def pixels_of(shape):
    return shape[0] * shape[2] * shape[3]


def crowd(height, width):
    """Portraits of a photograph, one beside the other, with faces of 40 to 75 pixels."""
    import matplotlib

    portrait = Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    image = np.full((height, width, 3), 110, np.uint8)
    for index, (y, x) in enumerate(np.ndindex(height // 217 + 1, width // 217 + 1)):
        scale = (0.36, 0.3, 0.2)[index % 3]
        cell = image[217 * y : 217 * (y + 1), 217 * x : 217 * (x + 1)]
        small = np.asarray(portrait.resize((round(512 * scale), round(600 * scale))))
        visible = small[: cell.shape[0], : cell.shape[1]]
        cell[: visible.shape[0], : visible.shape[1]] = visible
    return image


def test_an_image_in_tiles_has_the_faces_of_the_whole_image():
    cfg = load_cfg("lite")
    cfg.MODEL.DEVICE = "cpu"
    predictor = FacePredictor(cfg)
    image = crowd(651, 853)
    whole = predictor(image)
    predictor.max_tile_pixels = 512 * 512
    seen = watch(predictor)
    found = predictor(image)
    assert len(seen) > 1
    assert max(map(pixels_of, seen)) <= 512 * 512
    assert found.image_size == whole.image_size == (651, 853)
    assert_best_first(found)
    whole, found = (faces[faces.scores > 0.3] for faces in (whole, found))
    # Faces have 40 to 75 pixels. A tile's edge changes what the network sees beside them.
    assert_same_detections(found, whole, box_tolerance=1, score_tolerance=0.05, at_least=9)


def test_up_to_the_limit_the_network_sees_the_whole_image(small_cfg, tmp_path):
    cfg = with_weights(small_cfg(), tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (500, 640, 3), dtype=np.uint8)
    predictor = FacePredictor(cfg, max_tile_pixels=512 * 640)
    seen = watch(predictor)
    found = predictor(image)
    assert seen == [(1, 3, 512, 640)]
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    with torch.no_grad():
        [wanted] = predictor.model([{"image": tensor, "height": 500, "width": 640}])
    assert_same_detections(found, wanted["instances"], box_tolerance=1e-3, score_tolerance=1e-6)


def test_no_batch_is_padded_beyond_the_limit(small_cfg, tmp_path):
    """Of 101 x 620 and 620 x 101 pixels together both sides would be 640, of 640 x 128 two."""
    predictor = FacePredictor(with_weights(small_cfg(), tmp_path), max_tile_pixels=512 * 512)
    wide, high = np.zeros((101, 620, 3), np.uint8), np.zeros((620, 101, 3), np.uint8)
    seen = watch(predictor)
    assert len(predictor.detect([wide, high])) == 2
    assert seen == [(1, 3, 128, 640), (1, 3, 640, 128)]
    predictor.detect([wide, wide])
    assert seen[2:] == [(2, 3, 128, 640)]
    assert predictor.detect([]) == []


def test_boxes_from_tiles_are_in_pixels_of_the_output(small_cfg, tmp_path):
    cfg = with_weights(small_cfg("INPUT.MIN_SIZE_TEST", 301, "INPUT.MAX_SIZE_TEST", 2000), tmp_path)
    predictor = FacePredictor(cfg, max_tile_pixels=512 * 512)
    predictor.max_tile_face = 60.0
    seen = watch(predictor)
    image = np.random.default_rng(0).integers(0, 256, (602, 2406, 3), dtype=np.uint8)
    found = predictor(image)
    assert len(seen) == 3
    assert max(map(pixels_of, seen)) <= 512 * 512
    assert found.image_size == (602, 2406)
    boxes = found.pred_boxes.tensor
    assert boxes.min() >= 0
    assert 2000 < boxes[:, 2].max() <= 2406
    assert 400 < boxes[:, 3].max() <= 602


def test_views_of_multi_scale_testing_are_tiled_too(small_cfg, tmp_path):
    cfg = with_weights(
        small_cfg("TEST.SRN_TTA.ENABLED", True, "TEST.SRN_TTA.SCALES", (0.5, 2.0)), tmp_path
    )
    predictor = FacePredictor(cfg, max_tile_pixels=512 * 512)
    seen = watch(predictor)
    found = predictor(np.zeros((100, 701, 3), np.uint8))
    assert seen[:2] == [(1, 3, 64, 352)] * 2
    assert len(seen) > 4
    assert max(map(pixels_of, seen)) <= 512 * 512
    assert found.image_size == (100, 701)


def test_what_a_full_gpu_refuses_is_done_one_by_one_and_in_tiles(small_cfg, tmp_path, caplog):
    predictor = FacePredictor(with_weights(small_cfg(), tmp_path))
    predictor.max_tile_face = 60.0
    images = [np.full((300, 700, 3), 90, np.uint8), np.full((200, 600, 3), 90, np.uint8)]
    seen, limit = watch(predictor), 320 * 512

    def refuse(_, inputs):
        if pixels_of(inputs[0].shape) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    predictor.single_scale_model.backbone.register_forward_pre_hook(refuse)
    found = predictor.detect(images)
    for detections, (height, width) in zip(found, [(300, 700), (200, 600)], strict=True):
        assert detections.boxes.min() >= 0
        assert (detections.boxes.max(axis=0) <= [width, height, width, height]).all()
    done = [shape for shape in seen if pixels_of(shape) <= limit]
    assert seen[0] == (2, 3, 320, 704)
    assert done[-1] == (1, 3, 224, 608)  # whole
    assert len(done) == 3
    assert caplog.text.count("Out of memory for an image, 700 x 300 pixels") == 1


def test_another_error_is_not_retried(small_cfg, tmp_path, image):
    predictor = FacePredictor(with_weights(small_cfg(), tmp_path))
    seen = watch(predictor)

    def fail(*_):
        raise RuntimeError("expected 3 channels")

    predictor.single_scale_model.backbone.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="3 channels"):
        predictor(image)
    assert len(seen) == 1
