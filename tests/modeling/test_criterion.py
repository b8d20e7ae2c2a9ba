import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform, _dense_box_regression_loss
from detectron2.structures import Boxes
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


def test_unknown_box_loss_lists_the_valid_ones():
    with pytest.raises(ValueError, match="BBOX_REG_LOSS_TYPE") as error:
        SRNCriterion(TRANSFORM, box_loss_type="l2")
    assert all(name in str(error.value) for name in BOX_LOSSES)


def test_normalizers_are_the_positives_at_least_one():
    first, second = loss_normalizers([torch.tensor(0), torch.tensor(7)])
    assert (first.item(), second.item()) == (1, 7)
