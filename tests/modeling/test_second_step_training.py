"""From when on, and with which labels, training prepares the second step."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from srn_d2.modeling.second_step_training import SecondStepTraining
from srn_d2.modeling.target_assignment import (
    BACKGROUND,
    FACE,
    build_matcher,
    two_step_targets,
)

FACE_BOX = torch.tensor([[0.0, 0, 10, 10]])
NONE_IGNORED = torch.zeros(1, dtype=torch.bool)


def crowd() -> list[dict]:
    """A picture of faces of all sizes."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(60, 2, generator=generator) * 100
    sides = torch.rand(60, 1, generator=generator) * 90 + 6
    instances = Instances((192, 192))
    instances.gt_boxes = Boxes(torch.cat([corners, corners + sides * torch.tensor([0.8, 1])], 1))
    instances.gt_classes = torch.zeros(60, dtype=torch.int64)
    image = torch.randint(0, 256, (3, 192, 192), dtype=torch.uint8, generator=generator)
    return [{"image": image, "instances": instances, "file_name": "made up"}]


def train_step(cfg, iteration: int = 0) -> tuple[dict[str, float], dict[str, float]]:
    """Losses and logged numbers of a random model."""
    torch.manual_seed(0)
    model = build_model(cfg).train()
    with EventStorage(iteration) as storage, torch.no_grad():
        losses = {name: loss.item() for name, loss in model(crowd()).items()}
        return losses, {name: value for name, (value, _) in storage.latest().items()}


def test_stc_filters_from_its_iteration_on(small_cfg):
    filters = "MODEL.SRN.STC_THRESHOLD", 0.5, "MODEL.SRN.STC_START_ITER", 5
    _, before = train_step(small_cfg(*filters), 4)
    _, after = train_step(small_cfg(*filters), 5)
    assert before["srn/stc_removed_share"] == 0 < after["srn/stc_removed_share"]
    assert before["srn/negatives_after_stc"] == before["srn/negatives_before_stc"]


def test_str_moves_anchors_from_its_iteration_on(small_cfg):
    moves = "MODEL.SRN.STR_START_ITER", 3, "MODEL.SRN.STC_LEVELS", []
    before, _ = train_step(small_cfg(*moves), 2)
    after, _ = train_step(small_cfg(*moves), 3)
    always, _ = train_step(small_cfg("MODEL.SRN.STC_LEVELS", []), 3)
    assert after == always != before
    assert before["loss_box_s1"] == after["loss_box_s1"]  # it learns all the time


@pytest.mark.parametrize("refined_labels", [True, False])
def test_labels_on_str_levels(refined_labels):
    anchors = torch.tensor([[20.0, 20, 30, 30], [0, 0, 10, 9]])
    refined = torch.stack([torch.cat([FACE_BOX, anchors[:1]])])  # they change places
    step1, step2, regular = two_step_targets(
        anchors,
        refined,
        torch.tensor([True, True]),
        [FACE_BOX],
        [NONE_IGNORED],
        [build_matcher((0.4, 0.5))] * 3,
        refined_labels=refined_labels,
    )
    expected = [FACE, BACKGROUND] if refined_labels else [BACKGROUND, FACE]
    assert step2.labels.tolist() == [expected]
    assert regular.tolist() == step1.labels.tolist() == [[BACKGROUND, FACE]]
    assert torch.equal(step2.anchors, refined)  # the deltas refer to moved anchors in any case


def test_the_normaliser_counts_what_it_is_told(small_cfg):
    """Both divide the same sums, so that the losses' ratio is that of the numbers of positives."""
    # Predictions that move some anchor onto a face, or off it.
    level = "MODEL.SRN.STC_LEVELS", [], "MODEL.SRN.PREDICTION_INIT_STD", 0.01
    refined, counts = train_step(small_cfg(*level))
    regular, _ = train_step(small_cfg(*level, "MODEL.SRN.SECOND_STEP_NORMALIZER", "regular"))
    _, unmoved = train_step(small_cfg(*level, "MODEL.SRN.STR_LEVELS", []))
    ratio = counts["srn/positives_s2"] / unmoved["srn/positives_s2"]
    assert ratio != 1
    for name in ("loss_cls_s2", "loss_box_s2"):
        assert regular[name] == pytest.approx(refined[name] * ratio, rel=1e-5)
    assert regular["loss_box_s1"] == refined["loss_box_s1"]


@pytest.mark.parametrize(
    ("option", "key"),
    [("labels", "REFINED_LABELS"), ("normalizer", "SECOND_STEP_NORMALIZER")],
)
def test_a_wrong_option_names_its_key(option, key):
    with pytest.raises(ValueError, match=f"MODEL.SRN.{key}"):
        SecondStepTraining(**{option: "moved"})
