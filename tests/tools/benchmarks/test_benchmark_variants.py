"""The variants: the authors' way against the model's own, RetinaNet's anchors, calibration."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import ImageList

from benchmarks.authors import MAX_DETECTIONS, SCORE_THRESHOLD, AuthorsSRN
from benchmarks.first_step_masks import active_share, map_sizes, masks_of_share, surviving_cells
from benchmarks.variants import build_retinanet, build_variants
from helpers.detections import assert_best_first, assert_same_detections
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.config import build_cfg
from srn_d2.modeling import LEVELS

RELEASED = (
    *("MODEL.SRN.POSTPROCESSING", "released", "MODEL.SRN.SCORE_THRESH_TEST", 0.05),
    *("MODEL.SRN.TOPK_CANDIDATES_TEST", 6000, "MODEL.SRN.NMS_THRESH_TEST", 0.4),
)
RELEASED_ANCHORS = (
    *("MODEL.ANCHOR_GENERATOR.NAME", "ReleasedAnchorGenerator"),
    *("MODEL.SRN.BBOX_REG_SCALE_CLAMP", float("inf"), "MODEL.SRN.SIZE_DIVISIBILITY", 1),
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(1)


@pytest.fixture
def images(_seed):
    return ImageList(torch.randn(2, 3, 160, 192), [(160, 192), (150, 192)])


@pytest.mark.numerics
@pytest.mark.parametrize("opts", [(), RELEASED_ANCHORS])
@pytest.mark.parametrize("share", [None, 0.3])
def test_authors_way_detects_what_the_model_does(small_cfg, images, opts, share):
    # theta divides the first step's random scores, about 0.015 on average.
    cfg = small_cfg("MODEL.SRN.STC_THRESHOLD", 0.985, *RELEASED, *opts)
    authors, dense = build_variants(cfg, ["authors", "dense"], images)
    masks = None
    if share is not None:
        sizes = map_sizes((160, 192), cfg.MODEL.SRN.STC_LEVELS)
        masks = masks_of_share(sizes, share, len(images), seed=0)
    with authors.imposed(masks), dense.imposed(masks):
        theirs, ours = authors.run(images), dense.run(images)
    for found, expected in zip(theirs, ours, strict=True):
        cuts = {"cut_scores": [SCORE_THRESHOLD], "max_detections": MAX_DETECTIONS}
        assert_same_detections(found, expected, at_least=31, **cuts)
        assert_best_first(found)
    if share is None:
        with dense.imposed(masks_of_share(map_sizes((160, 192), LEVELS[:3]), 1.0, 2, 0)):
            unfiltered = dense.run(images)
        assert sum(map(len, unfiltered)) > sum(map(len, theirs))  # STC took some away


def test_authors_way_needs_a_first_step_everywhere(small_cfg):
    model = build_model(small_cfg("MODEL.SRN.STR_LEVELS", ("p5",)))
    with pytest.raises(ValueError, match="every level"):
        AuthorsSRN(model)


@pytest.mark.numerics
def test_all_ways_of_the_second_step_detect_the_same(small_cfg, images):
    cfg = small_cfg()
    variants = build_variants(cfg, ["dense", "sparse", "auto"], images)
    masks = masks_of_share(map_sizes((160, 192), cfg.MODEL.SRN.STC_LEVELS), 0.1, 2, seed=0)
    seen = []
    results = []
    for variant in variants:
        with variant.imposed(masks), variant.with_scores(lambda x: seen.append(x) or x):
            results.append(variant.run(images))
    assert len(seen) == len(variants)
    cells = surviving_cells(seen[0], cfg.MODEL.SRN.STC_LEVELS, cfg.MODEL.SRN.STC_THRESHOLD)
    assert active_share(cells) == active_share(masks)
    for result in results[1:]:
        for found, expected in zip(result, results[0], strict=True):
            assert_same_detections(found, expected)


@pytest.mark.numerics
def test_bfloat16_detects_nearly_the_same(small_cfg, images):
    float32, bfloat16 = build_variants(small_cfg(), ["dense", "dense-bf16"], images)
    for a, b in zip(float32.run(images), bfloat16.run(images), strict=True):
        assert not torch.equal(a.scores, b.scores)
        torch.testing.assert_close(a.scores[:10], b.scores[:10].float(), rtol=0.1, atol=0.01)


def test_random_weights_are_calibrated(small_cfg, images):
    [dense] = build_variants(small_cfg(), ["dense"], images)
    head = dense.run.__self__.head
    logits, deltas = [], []
    head.cls_score.register_forward_hook(lambda m, x, y: logits.append(y.flatten()))
    head.bbox_pred.register_forward_hook(lambda m, x, y: deltas.append(y.flatten()))
    dense.run(images)
    logits, deltas = (torch.cat(x[-len(LEVELS) :]) for x in (logits, deltas))
    assert logits.mean().item() == pytest.approx(-4.2, abs=1e-3)
    assert logits.std().item() == pytest.approx(1.0, abs=1e-3)
    assert deltas.std().item() == pytest.approx(0.1, abs=1e-4)


def test_given_weights_are_loaded(small_cfg, images, tmp_path):
    cfg = small_cfg()
    torch.manual_seed(5)
    model = build_model(cfg)
    SRNCheckpointer(model, str(tmp_path)).save("model")
    variants = build_variants(cfg, ["authors", "auto"], images, str(tmp_path / "model.pth"))
    loaded = variants[1].run.__self__
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=0)


def test_unknown_variant_is_named(small_cfg, images):
    with pytest.raises(ValueError, match=r"nonsense.*valid are.*retinanet"):
        build_variants(small_cfg(), ["dense", "nonsense"], images)


def test_retinanet_has_the_same_levels_and_anchors(small_cfg, images):
    cfg = small_cfg()
    retinanet, srn = build_retinanet(cfg), build_model(cfg)
    assert retinanet.head_in_features == list(LEVELS)
    assert retinanet.num_classes == 1
    with torch.no_grad():
        theirs, ours = retinanet.backbone(images.tensor), srn.backbone(images.tensor)
    assert {x: theirs[x].shape for x in LEVELS} == {x: ours[x].shape for x in LEVELS}
    anchors = [
        model.anchor_generator([maps[x] for x in LEVELS])
        for model, maps in ((retinanet, theirs), (srn, ours))
    ]
    for level_theirs, level_ours in zip(*anchors, strict=True):
        torch.testing.assert_close(level_theirs.tensor, level_ours.tensor, rtol=0, atol=0)


@pytest.mark.parametrize("config", ["srn_R50_released.yaml", "srn_efflite0.yaml"])
def test_retinanet_beside_every_kind_of_config(repo_root, config):
    cfg = build_cfg(str(repo_root / "configs" / config), ["MODEL.DEVICE", "cpu"])
    before = cfg.dump()
    retinanet = build_retinanet(cfg)
    assert cfg.dump() == before
    assert retinanet.head_in_features == list(LEVELS)
    assert retinanet.anchor_generator.num_anchors == [2] * len(LEVELS)


def test_retinanet_detects_something_to_postprocess(small_cfg, images):
    [variant] = build_variants(small_cfg(), ["retinanet"], images)
    with variant.imposed(masks_of_share({"p2": (40, 48)}, 0.1, 2, seed=0)):  # it has no first step
        detections = variant.run(images)
    assert [len(x) > 50 for x in detections] == [True, True]
    # A size that detectron2's pyramid cannot do is padded.
    odd = ImageList(images.tensor[:, :, :150, :170], [(150, 170), (140, 170)])
    assert [x.image_size for x in variant.run(odd)] == odd.image_sizes
