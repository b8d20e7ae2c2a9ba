"""Gradients by term and level, positives and overlaps, of a tiny network."""

import copy

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from ablation.gradients import ALL_LEVELS, parameter_groups
from ablation.mechanism import measure_mechanism
from ablation.mechanism_report import mechanism_json, mechanism_markdown
from ablation.step_targets import FIRST_BOXES, REFINED, REGULAR, SECOND_BOXES
from srn_d2.engine import SRNTrainer
from srn_d2.modeling.level_selection import LEVELS

SIDE = 128


@pytest.fixture(scope="module")
def batch():
    """Two crops; the boxes are close to anchors of the levels p3 to p5."""
    rng = np.random.default_rng(0)
    samples = []
    for boxes in ([[30, 30, 45, 48], [60, 60, 90, 96]], [[20, 8, 80, 84], [10, 2, 100, 116]]):
        instances = Instances((SIDE, SIDE))
        instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
        instances.gt_classes = torch.zeros(len(boxes), dtype=torch.int64)
        instances.gt_ignore = torch.zeros(len(boxes), dtype=torch.bool)
        pixels = rng.integers(0, 255, (3, SIDE, SIDE), dtype=np.uint8)
        samples.append({"image": torch.from_numpy(pixels), "instances": instances})
    return samples


@pytest.fixture
def make_model(small_cfg):
    def make(*opts):
        torch.manual_seed(0)
        easy = ["MODEL.SRN.FIRST_STEP_IOU_THRESHOLDS", [0.2, 0.3]]
        return SRNTrainer.build_model(small_cfg(*easy, *opts))

    return make


@pytest.fixture(scope="module")
def cache():
    return {}


@pytest.fixture
def measured(cache, make_model, batch):
    """A model in training mode, its measures, and its state before them."""
    if not cache:
        model = make_model().train()
        cache["state"] = {name: value.clone() for name, value in model.state_dict().items()}
        cache["found"] = measure_mechanism(model, [batch])
        cache["model"] = model
    return cache["model"], cache["found"], cache["state"]


@pytest.mark.numerics
def test_the_parts_of_the_levels_add_up_to_the_terms(measured, batch):
    model, found, _ = measured
    [gradients] = found.gradients
    model = copy.deepcopy(model)
    with EventStorage():
        losses = model(batch)
    for term, loss in losses.items():
        assert found.losses[term] == [pytest.approx(loss.item(), rel=1e-4)]
        model.zero_grad()
        loss.backward(retain_graph=True)
        for group, parameters in parameter_groups(model).items():
            parts = [p.grad.flatten() for p in parameters if p.grad is not None]
            expected = float(torch.cat(parts).norm()) if parts else 0.0
            norm = gradients.norms[term, ALL_LEVELS, group]
            assert norm == pytest.approx(expected, rel=1e-3, abs=1e-6), (term, group)


def test_terms_reach_the_levels_of_their_step_only(measured):
    _, found, _ = measured
    levels = {
        term: {level for t, level, _ in found.gradients[0].norms if t == term} - {ALL_LEVELS}
        for term in found.losses
    }
    assert levels["loss_cls_s1"] == set(LEVELS[:3])
    assert levels["loss_box_s1"] <= set(LEVELS[3:])
    assert levels["loss_cls_s2"] == set(LEVELS)
    assert levels["loss_box_s1"]


def test_a_measure_changes_nothing(measured):
    model, _, before = measured
    assert model.training
    assert "_losses" not in vars(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in model.parameters())


def test_positives_are_those_that_training_logs(measured, batch):
    model, found, _ = measured
    sums = found.targets
    with EventStorage() as storage, torch.no_grad():
        copy.deepcopy(model)(batch)
        logged = {name: value for name, (value, _) in storage.latest().items()}
    steps = {"step 1": 0.0, "step 2": 0.0}
    for (kind, _), number in sums.positives.items():
        steps[kind[: len("step 1")]] += number / sums.num_images
    assert steps["step 1"] == logged["srn/positives_s1"] > 0
    assert steps["step 2"] == logged["srn/positives_s2"] > 0


def test_overlaps(make_model, batch):
    """The prediction layers' deltas are 0 here: all boxes are the anchors themselves."""
    model = make_model()
    with torch.no_grad():
        model.head.bbox_pred.weight.zero_()
    found = measure_mechanism(model, [batch])
    means = {key: total / n for key, (total, n) in found.targets.overlaps.items() if n}
    kinds = {kind: {level for k, level in means if k == kind} for kind, _ in means}
    assert kinds[REGULAR] == kinds[FIRST_BOXES] <= set(LEVELS[3:])
    for level in kinds[REGULAR]:
        assert means[REGULAR, level] == pytest.approx(means[FIRST_BOXES, level], abs=1e-5)
        assert 0.3 <= means[REGULAR, level] <= 1
    for level in kinds[REFINED]:
        assert means[REFINED, level] == pytest.approx(means[SECOND_BOXES, level], abs=1e-5)
        assert 0.5 <= means[REFINED, level] <= 1


def test_tables_of_a_one_step_network(make_model, batch):
    model = make_model("MODEL.SRN.STC_LEVELS", [], "MODEL.SRN.STR_LEVELS", [])
    found = measure_mechanism(model, [batch, batch])
    text = mechanism_markdown("RetinaNet at model.pth", found)
    assert text.startswith("# RetinaNet at model.pth\n\nMeans over 2 training batches (4 crops).")
    assert "first-step" not in text.split("## Mean IoU")[0]
    assert set(mechanism_json(found)["losses"]) == {"loss_cls_s2", "loss_box_s2"}


def test_first_step_with_layers_of_its_own(make_model, batch):
    """Its gradients are in groups of their own; before STR's start no anchor is moved."""
    model = make_model("MODEL.SRN.FIRST_STEP_SUBNET", "own", "MODEL.SRN.STR_START_ITER", 5)
    before, after = (measure_mechanism(model, [batch], iteration) for iteration in (0, 5))
    groups = {group for term, _, group in after.gradients[0].norms if term == "loss_cls_s1"}
    assert "first step's own class layers" in groups
    assert after.gradients[0].norms["loss_cls_s1", ALL_LEVELS, "class subnet"] == 0
    assert after.gradients[0].norms["loss_cls_s1", ALL_LEVELS, "first step's own class layers"] > 0
    overlaps = [
        {key: total / n for key, (total, n) in found.targets.overlaps.items() if n}
        for found in (before, after)
    ]
    level = next(level for kind, level in overlaps[0] if kind == REGULAR)
    assert overlaps[0][FIRST_BOXES, level] == pytest.approx(overlaps[0][REGULAR, level])
    assert overlaps[1][FIRST_BOXES, level] != pytest.approx(overlaps[1][REGULAR, level], abs=1e-6)


def test_some_batch_is_needed(make_model):
    with pytest.raises(ValueError, match="no batch"):
        measure_mechanism(make_model(), [])
