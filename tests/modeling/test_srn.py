import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from helpers.detections import assert_best_first, assert_same_detections
from srn_d2.modeling import LEVELS
from srn_d2.modeling.target_assignment import build_matcher

LOSSES = {"loss_cls_s1", "loss_box_s1", "loss_cls_s2", "loss_box_s2"}
BASELINE = ("MODEL.SRN.STC_LEVELS", [], "MODEL.SRN.STR_LEVELS", [], "MODEL.SRN.RFE", False)


def image_with(boxes, size=(128, 128), ignore=None) -> dict:
    height, width = size
    generator = torch.Generator().manual_seed(len(boxes))
    instances = Instances(size)
    instances.gt_boxes = Boxes(torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.zeros(len(boxes), dtype=torch.int64)
    if ignore is not None:
        instances.gt_ignore = torch.as_tensor(ignore, dtype=torch.bool)
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    return {"image": image, "instances": instances, "file_name": "made up"}


def crowd(number: int, size: int) -> list[list[float]]:
    generator = torch.Generator().manual_seed(number)
    corner = torch.rand(number, 2, generator=generator) * (size - 20)
    sides = torch.rand(number, 2, generator=generator) * 12 + 6
    return torch.cat([corner, corner + sides], dim=1).tolist()


def make_model(cfg):
    torch.manual_seed(0)
    return build_model(cfg)


BATCHES = {
    "no face": [image_with([]), image_with([])],
    "one face": [image_with([[20, 20, 60, 70]]), image_with([])],
    "a crowd": [image_with(crowd(300, 128)), image_with(crowd(2, 128))],
    "odd sizes": [image_with([[5, 5, 25, 30]], (97, 131)), image_with([], (64, 33))],
    "only ignored": [image_with([[20, 20, 60, 70]], ignore=[True]), image_with([])],
    "a face on P7": [image_with([[0, 0, 300, 370]], (384, 320)), image_with([])],
}


@pytest.mark.parametrize("name", BATCHES)
def test_losses_are_finite_and_every_parameter_gets_a_gradient(small_cfg, name):
    model = make_model(small_cfg()).train()
    losses = model(BATCHES[name])
    assert set(losses) == LOSSES
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    if name in ("no face", "only ignored"):
        assert losses["loss_box_s1"] == losses["loss_box_s2"] == 0
        assert losses["loss_cls_s2"] > 0
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("opts", "expected"),
    [
        (BASELINE, {"loss_cls_s2", "loss_box_s2"}),
        (("MODEL.SRN.STR_LEVELS", []), LOSSES - {"loss_box_s1"}),
        (("MODEL.SRN.STC_LEVELS", []), LOSSES - {"loss_cls_s1"}),
        (("MODEL.SRN.STC_LEVELS", ["p4"], "MODEL.SRN.STR_LEVELS", ["p4"]), LOSSES),
        (("MODEL.SRN.BBOX_REG_LOSS_TYPE", "giou"), LOSSES),
    ],
)
def test_each_selection_of_levels_trains_all_its_parameters(small_cfg, opts, expected):
    model = make_model(small_cfg(*opts)).train()
    losses = model(BATCHES["one face"])
    assert set(losses) == expected
    sum(losses.values()).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_first_step_loss_weight_scales_the_first_step_only(small_cfg):
    on_p5 = [20, 12, 76, 84]  # an anchor: a positive of STR
    batch = [image_with([on_p5]), image_with(crowd(2, 128))]
    losses = make_model(small_cfg()).train()(batch)
    weighted = make_model(small_cfg("MODEL.SRN.FIRST_STEP_LOSS_WEIGHT", 0.25)).train()(batch)
    assert all(loss > 0 for loss in losses.values())
    for name, loss in losses.items():
        factor = 0.25 if name.endswith("_s1") else 1.0
        torch.testing.assert_close(weighted[name], factor * loss)


def test_baseline_has_retinanets_targets(small_cfg):
    """The second step's positives are those of plain matching, nothing is filtered."""
    from detectron2.structures import pairwise_iou

    model = make_model(small_cfg(*BASELINE)).train()
    batch = BATCHES["a crowd"]
    with EventStorage() as storage:
        model(batch)
        logged = {name: value for name, (value, _) in storage.latest().items()}
    maps = [torch.zeros(1, 1, -(-128 // s), -(-128 // s)) for s in (4, 8, 16, 32, 64, 128)]
    anchors = Boxes(torch.cat([a.tensor for a in model.anchor_generator(maps)]))
    labels = [
        build_matcher((0.4, 0.5))(pairwise_iou(x["instances"].gt_boxes, anchors))[1] for x in batch
    ]
    assert logged["srn/positives_s2"] == sum((x == 1).sum().item() for x in labels) / 2
    assert logged["srn/negatives_after_stc"] == sum((x == 0).sum().item() for x in labels) / 2
    assert "srn/stc_removed_share" not in logged


def scalars(model, batch) -> dict[str, float]:
    with EventStorage() as storage, torch.no_grad():
        model(batch)
        return {name: value for name, (value, _) in storage.latest().items()}


def test_theta_one_filters_nothing_and_a_sure_first_step_filters_all(small_cfg):
    batch = BATCHES["a crowd"]  # of faces too small for P5, P6 and P7
    logged = scalars(make_model(small_cfg("MODEL.SRN.STC_THRESHOLD", 1.0)).train(), batch)
    assert logged["srn/stc_removed_share"] == 0
    assert logged["srn/negatives_after_stc"] == logged["srn/negatives_before_stc"] > 0

    model = make_model(small_cfg()).train()
    torch.nn.init.constant_(model.head.cls_score.bias, -50.0)
    logged = scalars(model, batch)
    assert logged["srn/stc_removed_share"] == 1
    cells = sum(size**2 for size in (4, 2, 1)) * 2  # P5, P6, P7 of 128 px have no STC
    assert logged["srn/negatives_after_stc"] <= cells
    assert logged["srn/positives_before_stc"] > logged["srn/positives_s2"] == 0


def test_theta_of_inference_can_be_another(small_cfg):
    def model(theta, theta_of_inference):
        keys = "MODEL.SRN.STC_THRESHOLD", theta, "MODEL.SRN.STC_THRESHOLD_TEST", theta_of_inference
        return make_model(small_cfg(*keys))

    logged = scalars(model(1.0, 0.5).train(), BATCHES["a crowd"])
    assert logged["srn/stc_removed_share"] == 0
    found = {
        key: [output["instances"].scores for output in model(*key).eval()(BATCHES["a crowd"])]
        for key in ((1.0, 0.5), (0.5, 0.0), (1.0, 0.0))
    }
    for scores, same, all_scores in zip(*found.values(), strict=True):
        assert torch.equal(scores, same)
        assert 0 < len(scores) < len(all_scores)


def test_no_gradient_reaches_the_first_step_through_refined_anchors(small_cfg):
    model = make_model(small_cfg("MODEL.SRN.STC_LEVELS", [], "MODEL.SRN.STR_LEVELS", ["p5"]))
    losses = model.train()([image_with([[20, 20, 85, 95]], (128, 128))] * 2)
    first_step = list(model.backbone.first_step_convs.parameters())
    grads = torch.autograd.grad(
        losses["loss_box_s2"] + losses["loss_cls_s2"], first_step, allow_unused=True
    )
    assert all(grad is None for grad in grads)


def test_bfloat16_autocast_keeps_losses_close_and_in_float32(small_cfg):
    batch = BATCHES["a crowd"]
    exact = make_model(small_cfg()).train()(batch)
    rounded = make_model(small_cfg("SOLVER.CPU_BFLOAT16", True)).train()(batch)
    for name, loss in rounded.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact[name], rtol=0.1, atol=0.05)


@pytest.mark.parametrize("key", ["SOLVER.CPU_BFLOAT16", "TEST.BFLOAT16"])
def test_bfloat16_in_inference_and_in_training(small_cfg, key):
    dtypes = []
    model = make_model(small_cfg(key, True))
    model.head.cls_score.register_forward_hook(lambda *args: dtypes.append(args[2].dtype))
    model.eval()(BATCHES["one face"])
    assert set(dtypes) == {torch.bfloat16}
    dtypes.clear()
    model.train()(BATCHES["one face"])
    assert set(dtypes) == {torch.float32 if key.startswith("TEST") else torch.bfloat16}


@pytest.mark.numerics
def test_bfloat16_changes_scores_by_rounding_only(small_cfg):
    model = make_model(small_cfg("MODEL.SRN.SECOND_STEP", "dense")).eval()
    images = model.preprocess_image([image_with([], (96, 128))])
    exact = model.detect(images)[0].scores
    model.test_bfloat16 = True
    rounded = model.detect(images)[0].scores
    assert not torch.equal(rounded[:50], exact[:50])
    torch.testing.assert_close(rounded[:50], exact[:50], atol=0.02, rtol=0)


@pytest.mark.parametrize("size", [(128, 128), (203, 301), (1, 500), (40, 7)])
def test_inference_gives_sorted_boxes_inside_the_output_size(small_cfg, size):
    model = make_model(small_cfg()).eval()
    sample = {**image_with([], size), "height": size[0] * 2, "width": size[1] * 2}
    instances = model([sample])[0]["instances"]
    assert instances.image_size == (size[0] * 2, size[1] * 2)
    boxes, scores = instances.pred_boxes.tensor, instances.scores
    assert 0 < len(instances) <= 750
    assert (scores[:-1] >= scores[1:]).all()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= size[1] * 2).all()
    assert (boxes[:, 3] <= size[0] * 2).all()
    assert not instances.pred_classes.any()


@pytest.mark.numerics
def test_results_do_not_depend_on_the_rest_of_the_batch(small_cfg):
    model = make_model(small_cfg()).eval()
    one, other = image_with([], (64, 96)), image_with([[1, 1, 9, 9]], (64, 96))
    alone, together = model([one])[0]["instances"], model([one, other])[0]["instances"]
    assert_same_detections(together, alone)


def plain_inference(model, sample, theta, topk, iou, keep):
    """An independent re-statement of section 3.5, box by box, for one image."""
    images = model.preprocess_image([sample])
    maps = model.backbone(images.tensor)
    out = model.head([maps[name] for name in model.head_in_features])
    anchors = model.anchor_generator([maps[level] for level in LEVELS])
    candidates = []
    for index, level in enumerate(LEVELS):
        scores = out.scores_s2[index][0].sigmoid()
        for a, y, x in torch.cartesian_prod(*(torch.arange(n) for n in scores.shape)).tolist():
            if level < "p5" and 1 - out.scores_s1[index][0, a, y, x].sigmoid() > theta:
                continue
            width = scores.shape[2]
            box = anchors[index].tensor[(y * width + x) * 2 + a]
            if level >= "p5":
                box = decode(box, out.deltas_s1[index][0, 4 * a : 4 * a + 4, y, x])
            box = decode(box, out.deltas_s2[index][0, 4 * a : 4 * a + 4, y, x])
            candidates.append((scores[a, y, x].item(), *box.tolist()))
    candidates.sort(reverse=True)
    kept = []
    for candidate in candidates[:topk]:
        if all(plain_iou(candidate[1:], other[1:]) <= iou for other in kept):
            kept.append(candidate)
    return torch.tensor(kept[:keep])


def decode(box, delta):
    size, centre = box[2:] - box[:2], (box[2:] + box[:2]) / 2
    centre, size = centre + delta[:2] * size, size * delta[2:].exp()
    return torch.cat([centre - size / 2, centre + size / 2])


def plain_iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(w, 0) * max(h, 0)
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


@pytest.mark.numerics
@torch.no_grad()
def test_inference_equals_a_plain_restatement(small_cfg):
    cfg = small_cfg("MODEL.SRN.TOPK_CANDIDATES_TEST", 300, "TEST.DETECTIONS_PER_IMAGE", 40)
    model = make_model(cfg).eval()
    sample = image_with([], (96, 128))
    images = model.preprocess_image([sample])
    features = [model.backbone(images.tensor)[name] for name in model.head_in_features]
    (instances,) = model.forward_inference(images, features, model.head(features))
    expected = plain_inference(model, sample, 0.99, 300, 0.5, 40)
    # The random network exercises the filter: STC keeps some anchors and drops others.
    share = (
        (torch.cat([m[0].sigmoid().flatten() for m in model.head(features).scores_s1[:3]]) < 0.01)
        .float()
        .mean()
    )
    assert 0.2 < share < 0.8
    assert len(expected) == 40
    assert_same_detections(instances, (expected[:, 1:], expected[:, 0]), max_detections=40)
    assert_best_first(instances)


def test_stc_takes_weak_anchors_out_of_inference(small_cfg):
    model = make_model(small_cfg()).eval()
    sample = image_with([], (64, 64))
    everything = len(model([sample])[0]["instances"])
    torch.nn.init.constant_(model.head.cls_score.bias, -50.0)
    few = model([sample])[0]["instances"]
    assert len(few) < everything
    assert len(few) <= (4 + 1 + 1) * 2  # anchors of P5, P6, P7 on 64 px


@pytest.mark.numerics
def test_score_threshold_cuts(small_cfg):
    sample = image_with([], (64, 64))
    free = make_model(small_cfg()).eval()([sample])[0]["instances"]
    limit = free.scores.median().item()
    cfg = small_cfg("MODEL.SRN.SCORE_THRESH_TEST", limit)
    cut = make_model(cfg).eval()([sample])[0]["instances"]
    assert len(cut) == (free.scores > limit).sum()
