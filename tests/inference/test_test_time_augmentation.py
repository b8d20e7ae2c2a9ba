"""Multi-scale testing around an exact detector, around SRN and around RetinaNet."""

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from torch import nn

from helpers.blob_detector import BlobDetector, picture, scattered_boxes
from helpers.detections import assert_best_first, assert_same_detections
from srn_d2.inference import input_memory
from srn_d2.inference.merging import clip_to_pixels, vote_boxes
from srn_d2.inference.test_time_augmentation import ScheduledView, SRNWithTTA, released_schedule
from srn_d2.modeling import SRN

# --- the wrapper around an exact detector --------------------------------------------------------


def detect(model, image, **entries):
    [output] = model([{"image": image, **entries}])
    return output["instances"]


def with_tta(model, **options):
    return SRNWithTTA(model, **options).eval()


def sorted_boxes(instances):
    return sorted(instances.pred_boxes.tensor.tolist())


def test_views_agree_on_where_the_faces_are():
    """Of 120 pixels: the reduced view and the two of the original; of 24: those and enlarged."""
    faces = [[10, 20, 33, 43], [60, 30, 179, 149]]
    detector = BlobDetector()
    image = picture((181, 243), faces, [180, 240])
    found = detect(with_tta(detector, max_size=500), image)
    assert found.image_size == (181, 243)
    assert len(detector.sizes) == len(released_schedule(181, 243, 500)) == 6
    np.testing.assert_allclose(found.pred_boxes.tensor, [faces[1], faces[0]], atol=0.5)
    np.testing.assert_allclose(found.scores, [240 / 255, 180 / 255], atol=1e-6)
    assert found.pred_classes.tolist() == [0, 0]


def test_a_larger_image_is_reduced():
    detector = BlobDetector()
    image = picture((300, 401), [[100, 60, 199, 199]])
    found = detect(with_tta(detector, max_size=200), image)
    assert max(h * w for h, w in detector.sizes) == pytest.approx(200**2, rel=0.01)
    np.testing.assert_allclose(found.pred_boxes.tensor, [[100, 60, 199, 199]], atol=2)


def test_boxes_are_scaled_to_the_size_that_is_asked_for():
    model = with_tta(BlobDetector(), scales=(1.0,))
    image = picture((100, 120), [[10, 20, 39, 79]])
    for voting in (True, False):
        model.voting = voting
        found = detect(model, image, height=200, width=360)
        assert found.image_size == (200, 360)
        np.testing.assert_allclose(found.pred_boxes.tensor, [[30, 40, 117, 158]], atol=1e-4)


def test_without_flip_one_view_less():
    detector = BlobDetector()
    image = picture((100, 120), [[10, 20, 39, 79]])
    detect(with_tta(detector, max_size=130, flip=False), image)
    assert detector.sizes == [(100, 120), (50, 60), (119, 142)]


def test_voting_and_single_boxes():
    """Only one view has the face of 20 pixels, of which the other shows too little."""
    image = picture((100, 120), [[10, 20, 39, 79], [80, 50, 83, 51]], [255, 200])
    options = {"scales": (1.0, 0.2), "flip": False}
    large = [[10, 20, 39, 79]]
    both = [*large, [80, 50, 83, 51]]
    voted = detect(with_tta(BlobDetector(), **options), image)
    np.testing.assert_allclose(voted.pred_boxes.tensor, large, atol=2)
    kept = detect(with_tta(BlobDetector(), keep_single=True, **options), image)
    np.testing.assert_allclose(kept.pred_boxes.tensor, both, atol=2)
    chosen = detect(with_tta(BlobDetector(), voting=False, **options), image)
    assert sorted_boxes(chosen) == both, "the boxes of the view with the best scores, unchanged"


class Fixed(nn.Module):
    """Gives the same detections for all images."""

    def __init__(self, boxes, scores, classes):
        super().__init__()
        self.fields = torch.tensor(boxes), torch.tensor(scores), torch.tensor(classes)

    def forward(self, batched_inputs):
        boxes, scores, classes = self.fields
        size = batched_inputs[0]["image"].shape[-2:]
        fields = {"pred_boxes": Boxes(boxes.clone()), "scores": scores, "pred_classes": classes}
        return [{"instances": Instances(tuple(size), **fields)}]


TWINS = [[-4.0, 10.0, 20.0, 30.0], [-2.0, 10.0, 22.0, 30.0], [-4.0, 10.0, 20.0, 30.0]]


def test_classes_are_merged_separately():
    model = with_tta(Fixed(TWINS, [0.3, 0.6, 0.9], [1, 1, 0]), scales=(1.0,), flip=False)
    voted = detect(model, torch.zeros(3, 50, 20, dtype=torch.uint8))
    assert voted.pred_classes.tolist() == [1]
    model.keep_single = True
    voted = detect(model, torch.zeros(3, 50, 20, dtype=torch.uint8))
    assert voted.pred_classes.tolist() == [0, 1]
    # Merged first, -2.67 and 21.33, then clipped to the first and last pixel.
    assert voted.pred_boxes.tensor.tolist() == [[0, 10, 19, 30], [0, 10, 19, 30]]
    np.testing.assert_allclose(voted.scores, [0.9, 0.6])


def test_without_voting_nms_and_the_models_own_clipping():
    model = with_tta(
        Fixed(TWINS, [0.3, 0.6, 0.9], [1, 1, 0]),
        **{"scales": (1.0,), "flip": False, "voting": False, "nms_threshold": 0.8},
    )
    image = torch.zeros(3, 50, 21, dtype=torch.uint8)
    found = detect(model, image)
    assert found.pred_boxes.tensor.tolist() == [[0, 10, 20, 30], [0, 10, 21, 30]]
    model.nms_threshold = 0.9  # the two of class 1 have an IoU of 0.85
    assert detect(model, image).pred_classes.tolist() == [0, 1, 1]


@pytest.mark.parametrize("voting", [True, False])
def test_the_best_detections_stay(voting):
    boxes = scattered_boxes((200, 200), 30, 20)
    image = picture((200, 200), boxes, [130 + i for i in range(30)])
    model = with_tta(BlobDetector(), scales=(1.0,), voting=voting, max_detections=10)
    found = detect(model, image)
    wanted = [boxes[i] for i in range(29, 19, -1)]
    assert found.pred_boxes.tensor.tolist() == pytest.approx(np.array(wanted), abs=1e-4)


def test_no_face_and_several_images():
    model = with_tta(BlobDetector(), max_size=80)
    empty, one = torch.zeros(3, 50, 60, dtype=torch.uint8), picture((40, 70), [[10, 10, 29, 25]])
    for model.voting in (True, False):
        outputs = [output["instances"] for output in model([{"image": empty}, {"image": one}])]
        assert [len(output) for output in outputs] == [0, 1]
        assert outputs[0].pred_boxes.tensor.shape == (0, 4)
        assert [output.image_size for output in outputs] == [(50, 60), (40, 70)]


def test_it_has_no_losses_and_refuses_sizes_that_are_none():
    with pytest.raises(RuntimeError, match="inference"):
        SRNWithTTA(BlobDetector()).train()([])
    for options in ({"max_size": -1}, {"scales": (1.0, 0.0)}):
        with pytest.raises(ValueError, match="negative or zero"):
            SRNWithTTA(BlobDetector(), **options)


def test_the_pixels_of_the_views_are_of_the_images_type():
    class Types(BlobDetector):
        def detect(self, image):
            assert image.dtype == torch.float32
            return super().detect(image)

    image = picture((100, 120), [[10, 20, 39, 79]]).float()
    assert len(detect(with_tta(Types(), max_size=200), image)) == 1


# --- memory --------------------------------------------------------------------------------------


def test_views_without_memory_are_done_in_tiles(caplog):
    faces = scattered_boxes((600, 700), 40, 50)
    image = picture((600, 700), faces)
    plain = detect(with_tta(BlobDetector(), max_size=972), image)
    assert len(plain) == 40
    assert not caplog.records
    tiled = detect(with_tta(BlobDetector(700_000), max_size=972), image)
    assert_same_detections(tiled, plain, box_tolerance=1e-3)
    assert "a view at scale 1.5, 1050 x 900 pixels" in caplog.text
    assert "in part" not in caplog.text, "the view is for faces of less than 100 pixels"
    detect(with_tta(BlobDetector(400_000), max_size=700), image)
    assert "a view at scale 1, mirrored, 700 x 600 pixels" in caplog.text
    assert "faces larger than" in caplog.text


def test_srn_without_memory_is_done_in_tiles(small_cfg, caplog):
    torch.manual_seed(0)
    model = build_model(small_cfg()).eval()
    image = torch.randint(0, 256, (3, 140, 530), dtype=torch.uint8)
    options = {"scales": (1.0,), "voting": False, "max_detections": 100}
    plain = detect(with_tta(model, **options), image)

    def limit(backbone, inputs):
        if inputs[0].shape[-1] > 500:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    model.backbone.register_forward_pre_hook(limit)
    tiled = detect(with_tta(model, **options), image)
    assert caplog.text.count("Out of memory for a view at scale 1") == 2  # and mirrored
    assert len(tiled) == len(plain) == 100
    boxes = tiled.pred_boxes.tensor
    assert boxes.min() >= 0
    assert boxes[:, 2].max() > 450


def test_the_largest_size_may_follow_from_the_memory(monkeypatch):
    monkeypatch.setattr(input_memory, "CPU_BYTES_PER_PIXEL", 1e15)
    detector = BlobDetector()
    detector.weight = nn.Parameter(torch.zeros(1))  # tells where it runs
    model = with_tta(detector, max_size=0)
    detect(model, torch.zeros(3, 60, 60, dtype=torch.uint8))
    assert model.max_size == 512
    model = with_tta(BlobDetector(), max_size=0, scales=(1.0,))  # has no need of a size
    detect(model, torch.zeros(3, 60, 60, dtype=torch.uint8))


# --- around real detectors -----------------------------------------------------------------------


@pytest.fixture
def srn(small_cfg):
    torch.manual_seed(0)
    return build_model(small_cfg("MODEL.SRN.SCORE_THRESH_TEST", 0.0)).eval()


def noise(size, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)


@pytest.mark.numerics
def test_one_view_and_nms_is_the_model_itself(srn):
    image = noise((77, 101))
    model = with_tta(srn, scales=(1.0,), flip=False, voting=False)
    plain, found = (
        detect(srn, image, height=50, width=80),
        detect(model, image, height=50, width=80),
    )
    assert_same_detections(found, plain, box_tolerance=1e-3, score_tolerance=1e-6)
    assert_best_first(found)


@pytest.mark.numerics
def test_a_mirrored_image_gives_mirrored_boxes(srn):
    image = noise((64, 96))
    model = with_tta(srn, scales=(1.0, 1.5))
    mirrored = detect(model, image.flip(2))
    boxes = mirrored.pred_boxes.tensor
    mirrored.pred_boxes.tensor = torch.stack(
        [95 - boxes[:, 2], boxes[:, 1], 95 - boxes[:, 0], boxes[:, 3]], 1
    )
    assert_same_detections(mirrored, detect(model, image))


@pytest.mark.numerics
def test_srns_boxes_are_merged_before_they_are_clipped(srn):
    """As in the released code: a view's boxes may reach beyond it."""
    image = noise((64, 96))
    found = detect(with_tta(srn, scales=(1.0,), keep_single=True), image)
    views = []
    for flip in (False, True):
        pixels = image.flip(2) if flip else image
        [instances] = srn.detect(srn.preprocess_image([{"image": pixels}]))
        boxes = instances.pred_boxes.tensor.numpy()
        assert boxes.min() < -1
        view = ScheduledView(flip=flip).render(np.zeros((64, 96, 3), dtype=np.uint8))
        views.append((view.to_image(boxes), instances.scores.numpy()))
    boxes, scores = (np.concatenate(values) for values in zip(*views, strict=True))
    boxes, scores = vote_boxes(boxes, scores, keep_single=True)
    expected = clip_to_pixels(boxes, (64, 96))[:750], scores[:750]
    assert_same_detections(found, expected, max_detections=750)


def test_the_config_sets_every_option(small_cfg):
    default = SRNWithTTA(small_cfg(), BlobDetector())
    assert (default.max_size, default.flip, default.scales) == (2100, True, ())
    assert (default.voting, default.keep_single) == (True, False)
    assert (default.nms_threshold, default.max_detections) == (0.5, 750)
    tta = "TEST.SRN_TTA."
    cfg = small_cfg(
        *(f"{tta}MAX_SIZE", 0, f"{tta}FLIP", False, f"{tta}SCALES", "(0.5, 2)"),
        *(f"{tta}VOTING", False, f"{tta}KEEP_SINGLE", True),
        *("MODEL.SRN.NMS_THRESH_TEST", 0.3, "TEST.DETECTIONS_PER_IMAGE", 9),
    )
    changed = SRNWithTTA(cfg, BlobDetector())
    assert (changed.max_size, changed.flip, changed.scales) == (0, False, (0.5, 2))
    assert (changed.voting, changed.keep_single) == (False, True)
    assert (changed.nms_threshold, changed.max_detections) == (0.3, 9)


def retinanet():
    """Detectron2's RetinaNet on a narrow ResNet-18, two classes."""
    cfg = get_cfg()
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "RetinaNet"
    cfg.MODEL.BACKBONE.NAME = "build_retinanet_resnet_fpn_backbone"
    cfg.MODEL.RESNETS.DEPTH = 18
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = 64
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = ["res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 8
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[32], [64], [128], [256], [512]]
    cfg.MODEL.RETINANET.NUM_CLASSES = 2
    cfg.MODEL.RETINANET.PRIOR_PROB = 0.3
    return build_model(cfg).eval()


@pytest.mark.numerics
def test_around_retinanet():
    torch.manual_seed(1)
    model = retinanet()
    image = noise((90, 130))
    tta = with_tta(model, max_size=150)
    assert not isinstance(model, SRN)
    found = detect(tta, image, height=180, width=260)
    assert found.image_size == (180, 260)
    assert len(found) > 10
    assert set(found.pred_classes.tolist()) == {0, 1}
    assert_best_first(found)
    boxes = found.pred_boxes.tensor
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 260
    assert boxes[:, 3].max() <= 180
    one_view = with_tta(model, scales=(1.0,), flip=False, voting=False, nms_threshold=1.0)
    plain = detect(model, image)
    assert_same_detections(detect(one_view, image), plain, box_tolerance=1e-3)
