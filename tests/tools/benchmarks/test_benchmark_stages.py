"""What is charged to which stage, and operations against fvcore's count."""

import pytest
import torch
from detectron2.structures import ImageList
from fvcore.nn import FlopCountAnalysis
from torch import nn

from benchmarks.first_step_masks import map_sizes, masks_of_share
from benchmarks.stages import (
    BACKBONE,
    FIRST_STEP,
    FPN,
    INFERENCE_STAGES,
    SECOND_STEP,
    StageMeter,
    clock,
    mac_counter,
    replaced,
)
from benchmarks.variants import build_variants


class Counter:
    """A counter that the test turns by hand, and a method that turns it."""

    def __init__(self):
        self.value = 0.0

    def read(self):
        return self.value

    def work(self, amount):
        self.value += amount
        return amount


def test_inner_stages_are_not_charged_to_outer_ones():
    counter = Counter()
    meter = StageMeter(counter.read)
    counter.work(100)  # before any stage: nobody's
    with meter.stage("outer"):
        counter.work(1)
        with meter.stage("inner"):
            counter.work(10)
        counter.work(2)
        with meter.stage("inner"):
            counter.work(20)
    counter.work(100)
    with meter.stage("outer"):
        counter.work(4)
    assert meter.totals == {"outer": 7, "inner": 30}


def test_a_stage_ends_with_an_exception_too():
    counter = Counter()
    meter = StageMeter(counter.read)

    def fail():
        counter.work(1)
        raise KeyError

    with pytest.raises(KeyError), meter.stage("outer"), meter.stage("inner"):
        fail()
    with meter.stage("next"):
        counter.work(2)
    assert meter.totals == {"outer": 0, "inner": 1, "next": 2}


def test_wrapped_methods_are_stages_and_come_back():
    counter, other = Counter(), Counter()
    meter = StageMeter(counter.read)
    with meter.wrap((counter, "work", "working")):
        assert counter.work(3) == 3
        other.work(5)
    counter.work(7)
    assert meter.totals == {"working": 3}
    assert "work" not in vars(counter)


def test_a_module_whose_forward_is_replaced_gets_it_back():
    module = nn.ReLU()
    with replaced(module, "forward", lambda x: x):
        assert module(torch.tensor(-1.0)) == -1
    assert module(torch.tensor(-1.0)) == 0


def test_an_attribute_of_the_object_itself_comes_back():
    counter = Counter()
    counter.work = own = lambda amount: 2 * amount
    with replaced(counter, "work", lambda amount: 0):
        assert counter.work(1) == 0
    assert counter.work is own


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(0)
    return ImageList(torch.randn(1, 3, 64, 96), [(64, 96)])


@pytest.mark.parametrize("name", ["dense", "sparse"])
def test_operations_of_all_stages(small_cfg, images, name):
    """Dense: fvcore's count of the parts; sparse: less in the second step, the same elsewhere."""
    cfg = small_cfg()
    [variant] = build_variants(cfg, [name], images)
    sizes = map_sizes((64, 96), cfg.MODEL.SRN.STC_LEVELS)
    with variant.imposed(masks_of_share(sizes, 0.02, 1, seed=0)), mac_counter() as meter:
        variant.measured(images, meter)
    assert set(meter.totals) == set(INFERENCE_STAGES)

    model = variant.run.__self__
    dense = expected_macs(model, images.tensor)
    for stage in (BACKBONE, FPN, FIRST_STEP):
        assert meter.totals[stage] == dense[stage]
    if name == "dense":
        assert meter.totals[SECOND_STEP] == dense[SECOND_STEP]
    else:
        assert 0 < meter.totals[SECOND_STEP] < 0.6 * dense[SECOND_STEP]


def expected_macs(model, image):
    """fvcore's count, with the 3x3 output convolutions of p2 .. p4 in the second step."""

    def count(module, *inputs):
        analysis = FlopCountAnalysis(module, inputs)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return analysis.by_operator()["conv"]  # torch's counter does not know normalisation

    with torch.no_grad():
        maps = model.backbone(image)
    features = [maps[name] for name in model.head_in_features]
    outputs = sum(count(model.backbone.outputs[level], maps[level]) for level in ("p2", "p3", "p4"))
    first = count(FirstStep(model.head), *features)
    bottom_up = count(model.backbone.bottom_up, image)
    return {
        BACKBONE: bottom_up,
        FPN: count(model.backbone, image) - bottom_up - outputs,
        FIRST_STEP: first,
        SECOND_STEP: count(Head(model.head), *features) - first + outputs,
    }


class Head(nn.Module):
    """A head that takes maps and gives tensors only, as tracing wants it."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, *features):
        predictions = self.head(features)
        return tuple(x for levels in predictions for x in levels if x is not None)


class FirstStep(Head):
    def forward(self, *features):
        names = self.head.level_selection.features
        scores, deltas = self.head.first_step(dict(zip(names, features, strict=True)))
        return tuple(x for x in (*scores, *deltas) if x is not None)


def test_clock_counts_seconds():
    meter = clock(torch.device("cpu"))
    with meter.stage("wait"):
        torch.ones(10).sum()
    assert 0 < meter.totals["wait"] < 60
