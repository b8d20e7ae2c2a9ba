import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform, _dense_box_regression_loss
from detectron2.structures import Boxes, pairwise_iou
from fvcore.nn import sigmoid_focal_loss
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.modeling import SRNCriterion
from srn_d2.modeling.criterion import BOX_LOSSES, loss_normalizers
from srn_d2.modeling.target_assignment import BACKGROUND, FACE, IGNORED, StepTargets

TRANSFORM = Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0))
ONE = torch.tensor(1.0)


def random_targets(seed: int, images: int = 2, anchors: int = 30) -> StepTargets:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(images, anchors, 2, generator=generator) * 50
    sides = torch.rand(images, anchors, 2, generator=generator) * 20 + 5
    start = torch.cat([corner, corner + sides], dim=-1)
    return StepTargets(
        labels=torch.randint(-1, 2, (images, anchors), generator=generator),
        boxes=start + torch.rand(images, anchors, 4, generator=generator),
        anchors=start,
    )


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_classification_is_the_focal_loss_of_what_is_not_ignored(seed):
    targets = random_targets(seed)
    logits = torch.randn(targets.labels.shape, generator=torch.Generator().manual_seed(seed))
    loss = SRNCriterion(TRANSFORM).classification_loss(logits, targets, torch.tensor(4.0))
    each = sigmoid_focal_loss(logits, (targets.labels == FACE).float(), alpha=0.25, gamma=2.0)
    torch.testing.assert_close(loss, each[targets.labels != IGNORED].sum() / 4)


def test_focal_loss_value_by_hand():
    # p = 0.5 everywhere: alpha * 0.25 * ln 2 for a face, (1 - alpha) * 0.25 * ln 2 for background.
    targets = StepTargets(torch.tensor([[FACE, BACKGROUND, IGNORED]]), *[torch.zeros(1, 3, 4)] * 2)
    loss = SRNCriterion(TRANSFORM, focal_alpha=0.25).classification_loss(
        torch.zeros(1, 3), targets, ONE
    )
    assert loss.item() == pytest.approx(0.25 * 0.6931472)


@pytest.mark.parametrize("loss_type", ["smooth_l1", "giou", "diou", "ciou"])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=10, deadline=None)
def test_box_losses_equal_detectron2s(loss_type, seed):
    targets = random_targets(seed)
    generator = torch.Generator().manual_seed(seed)
    deltas = torch.randn(*targets.labels.shape, 4, generator=generator) * 0.2
    ours = SRNCriterion(TRANSFORM, box_loss_type=loss_type).box_loss(deltas, targets, ONE)
    theirs = sum(
        _dense_box_regression_loss(
            [Boxes(anchors)],
            TRANSFORM,
            [delta[None]],
            [boxes],
            (labels == FACE)[None],
            box_reg_loss_type=loss_type,
            smooth_l1_beta=0.1,
        )
        for labels, boxes, anchors, delta in zip(*targets, deltas, strict=True)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loss_type", BOX_LOSSES)
def test_without_faces_the_box_loss_is_zero_and_has_a_gradient(loss_type):
    targets = random_targets(0)
    targets = targets._replace(labels=torch.full_like(targets.labels, BACKGROUND))
    deltas = torch.randn(*targets.labels.shape, 4, requires_grad=True)
    loss = SRNCriterion(TRANSFORM, box_loss_type=loss_type).box_loss(deltas, targets, ONE)
    loss.backward()
    assert loss.item() == 0
    assert not deltas.grad.any()


def test_losses_are_float32_for_bfloat16_predictions():
    targets = random_targets(1)
    criterion = SRNCriterion(TRANSFORM)
    scores = torch.zeros(targets.labels.shape, dtype=torch.bfloat16)
    deltas = torch.zeros(*targets.labels.shape, 4, dtype=torch.bfloat16)
    assert criterion.classification_loss(scores, targets, ONE).dtype == torch.float32
    assert criterion.box_loss(deltas, targets, ONE).dtype == torch.float32


def test_box_loss_weight_scales():
    targets, deltas = random_targets(2), torch.zeros(2, 30, 4)
    once = SRNCriterion(TRANSFORM).box_loss(deltas, targets, ONE)
    twice = SRNCriterion(TRANSFORM, box_loss_weight=2.0).box_loss(deltas, targets, ONE)
    torch.testing.assert_close(twice, 2 * once)


def test_quality_focal_loss_value_by_hand():
    # One face whose box has IoU 0.5 with it, scored 0.5: no loss. One whose box fits: 0.25 ln 2.
    # Background scored 0.5: 0.25 ln 2. An ignored anchor: none.
    box = torch.tensor([0.0, 0.0, 10.0, 10.0])
    faces = torch.stack([torch.tensor([0.0, 0.0, 10.0, 5.0]), box, box, box])[None]
    labels = torch.tensor([[FACE, FACE, BACKGROUND, IGNORED]])
    targets = StepTargets(labels, faces, box.expand(1, 4, 4))
    logits = torch.zeros(1, 4, requires_grad=True)
    deltas = torch.zeros(1, 4, 4, requires_grad=True)
    criterion = SRNCriterion(TRANSFORM, cls_loss_type="quality_focal")
    loss = criterion.detection_loss(logits, deltas, targets, ONE * 2)
    assert loss.item() == pytest.approx(0.25 * 0.6931472)
    loss.backward()
    assert deltas.grad is None
    assert logits.grad[0, 0] == 0
    assert logits.grad[0, 1] < 0 < logits.grad[0, 2]
    assert logits.grad[0, 3] == 0


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_quality_focal_loss_is_least_where_the_score_is_the_iou(seed):
    targets = random_targets(seed)
    deltas = torch.zeros(*targets.labels.shape, 4)
    iou = torch.stack(
        [
            pairwise_iou(Boxes(anchors), Boxes(boxes)).diagonal()
            for anchors, boxes in zip(targets.anchors, targets.boxes, strict=True)
        ]
    )
    wanted = torch.where(targets.labels == FACE, iou, torch.zeros_like(iou))
    criterion = SRNCriterion(TRANSFORM, cls_loss_type="quality_focal")
    at = [
        criterion.detection_loss(torch.logit(wanted, eps=1e-6) + shift, deltas, targets, ONE)
        for shift in (-0.5, 0.0, 0.5)
    ]
    assert at[1] < 1e-4
    assert at[1] < min(at[0], at[2])


def test_the_focal_loss_is_the_default_of_both_steps():
    targets, logits = random_targets(3), torch.randn(2, 30)
    criterion = SRNCriterion(TRANSFORM)
    loss = criterion.detection_loss(logits, torch.randn(2, 30, 4), targets, ONE)
    torch.testing.assert_close(loss, criterion.classification_loss(logits, targets, ONE))


def test_unknown_classification_loss_lists_the_valid_ones():
    with pytest.raises(ValueError, match=r"CLS_LOSS_TYPE is 'iou'.*'focal', 'quality_focal'"):
        SRNCriterion(TRANSFORM, cls_loss_type="iou")


def test_unknown_box_loss_lists_the_valid_ones():
    with pytest.raises(ValueError, match="BBOX_REG_LOSS_TYPE") as error:
        SRNCriterion(TRANSFORM, box_loss_type="l2")
    assert all(name in str(error.value) for name in BOX_LOSSES)


def test_normalizers_are_the_positives_at_least_one():
    first, second = loss_normalizers([torch.tensor(0), torch.tensor(7)])
    assert (first.item(), second.item()) == (1, 7)
