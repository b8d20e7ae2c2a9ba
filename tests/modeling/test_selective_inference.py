import pytest
import torch
from detectron2.modeling import build_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from helpers.detections import assert_same_detections
from srn_d2.modeling import LEVELS
from srn_d2.modeling.selective_inference import SecondStep

RELEASED = (
    *("MODEL.SRN.SIZE_DIVISIBILITY", 1, "MODEL.SRN.UPSAMPLE", "bilinear"),
    *("MODEL.SRN.P6_SOURCE", "c5_lateral", "MODEL.SRN.POSTPROCESSING", "released"),
    *("MODEL.SRN.TOPK_CANDIDATES_TEST", 6000, "MODEL.SRN.NMS_THRESH_TEST", 0.4),
    *("MODEL.ANCHOR_GENERATOR.NAME", "ReleasedAnchorGenerator"),
)
VARIANTS = {
    "default": (),
    "odd maps": ("MODEL.SRN.SIZE_DIVISIBILITY", 1),
    "without RFE": ("MODEL.SRN.RFE", False),
    "released": RELEASED,
    "STC on coarse levels": ("MODEL.SRN.STC_LEVELS", ["p2", "p5", "p7"]),
    "no norm": ("MODEL.FPN.NORM", ""),
    "separable head": ("MODEL.SRN.HEAD_CONVOLUTION", "separable", "MODEL.SRN.RFE", False),
    "separable": (
        *("MODEL.SRN.HEAD_CONVOLUTION", "separable", "MODEL.SRN.PYRAMID_CONVOLUTION", "separable"),
        *("MODEL.FPN.NORM", "", "MODEL.SRN.FIRST_STEP_SUBNET", "own"),
        *("MODEL.SRN.FIRST_STEP_CONVS", 1),
    ),
    "frozen norm": ("MODEL.FPN.NORM", "FrozenBN"),
    "norm over the map": (
        *("MODEL.FPN.NORM", "GN", "MODEL.FPN.OUT_CHANNELS", 32),
        *("MODEL.SRN.C6_CHANNELS", 32, "MODEL.SRN.C7_CHANNELS", 32),
    ),
    "ResNet-50": ("MODEL.RESNETS.DEPTH", 50, "MODEL.RESNETS.RES2_OUT_CHANNELS", 256),
}


QUICK = ("default", "released")
"""Those of the variants that are repeated at another instruction set."""


def make_model(cfg) -> nn.Module:
    """Random, and with biases: zeros would hide what zero padding does to later layers."""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.1, 0.5)
    return model


def pixels(*sizes: tuple[int, int]) -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    return [
        {"image": torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)}
        for size in sizes
    ]


def nowhere(mask: Tensor) -> None:
    pass


def everywhere(mask: Tensor) -> None:
    mask[:] = True


def one_cell(mask: Tensor) -> None:
    mask[-1, mask.shape[1] // 2, mask.shape[2] // 2] = True


def four_corners(mask: Tensor) -> None:
    for y in (0, -1):
        mask[:, y, [0, -1]] = True


def one_side(mask: Tensor) -> None:
    mask[0, :, -1] = True


def scattered(mask: Tensor) -> None:
    mask |= torch.rand(mask.shape, generator=torch.Generator().manual_seed(0)) < 0.02


def clusters(mask: Tensor) -> None:
    mask[0, 3:7, 1:4] = True
    mask[-1, -5:, 2:9] = True


PATTERNS = (nowhere, everywhere, one_cell, four_corners, one_side, scattered, clusters)


def first_step(model, images, second_step):
    """The maps that the second step reads, and one empty mask (N, Hl, Wl) for each STC level."""
    maps = model.backbone(images, second_step.unfinished_levels(model.backbone, model.head))
    scores_s1, _ = model.head.first_step(maps)
    masks = [None if x is None else torch.zeros_like(x[:, 0], dtype=torch.bool) for x in scores_s1]
    return maps, masks


def make_plan(second_step, model, survivors):
    unfinished = second_step.unfinished_levels(model.backbone, model.head)
    return second_step.plan(model.head, survivors, unfinished)


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(name, marks=pytest.mark.numerics if name in QUICK else [], id=name)
        for name in VARIANTS
    ],
)
@torch.no_grad()
def test_sparse_predictions_equal_the_dense_ones_at_survivors(small_cfg, variant):
    model = make_model(small_cfg(*VARIANTS[variant]))
    images = model.preprocess_image(pixels((203, 157), (131, 90))).tensor
    dense = model.head([model.backbone(images)[name] for name in model.head_in_features])
    second_step = SecondStep("sparse")
    maps, empty = first_step(model, images, second_step)
    for pattern in PATTERNS:
        survivors = [None if mask is None else mask.clone() for mask in empty]
        for mask in survivors:
            if mask is not None:
                pattern(mask)
        plan = make_plan(second_step, model, survivors)
        sparse = second_step(model.backbone, model.head, maps, plan)
        for outputs, expected in zip(sparse, (dense.scores_s2, dense.deltas_s2), strict=True):
            for mask, x, y in zip(survivors, outputs, expected, strict=True):
                if mask is not None:
                    y = y * mask[:, None]
                torch.testing.assert_close(x, y, atol=1e-4, rtol=0, msg=pattern.__name__)


@torch.no_grad()
def let_survive(model, images, share: float) -> None:
    """Set theta so that this share of the STC levels' anchors stays."""
    scores_s1, _ = model.head.first_step(model.backbone(images.tensor))
    scores = torch.cat([x.flatten() for x in scores_s1 if x is not None])
    model.stc_threshold_test = 1 - scores.sigmoid().quantile(1 - share).item()


@pytest.mark.numerics
@pytest.mark.parametrize("variant", ["default", "released", "norm over the map"])
@pytest.mark.parametrize("share", [0.01, 0.1])
def test_all_modes_detect_the_same(small_cfg, variant, share):
    model = make_model(small_cfg(*VARIANTS[variant]))
    images = model.preprocess_image(pixels((131, 157), (96, 90)))
    let_survive(model, images, share)
    detections = {}
    for mode in ("dense", "sparse", "auto"):
        model.second_step = SecondStep(mode)
        detections[mode] = model.detect(images)
    for mode in ("sparse", "auto"):
        for actual, expected in zip(detections[mode], detections["dense"], strict=True):
            assert_same_detections(actual, expected)


def test_detections_exist_where_nothing_survives(small_cfg):
    """Levels without STC still detect."""
    model = make_model(small_cfg("MODEL.SRN.SECOND_STEP", "sparse"))
    model.stc_threshold_test = -1.0  # no negative confidence is below
    (sparse,) = model(pixels((64, 96)))
    assert 0 < len(sparse["instances"]) <= (2 * 3 + 1 * 2 + 1) * 2  # anchors of P5, P6, P7


@pytest.mark.parametrize("variant", ["default", "without RFE", "norm over the map"])
@torch.no_grad()
def test_the_plan_knows_the_work_that_it_saves(small_cfg, variant):
    model = make_model(small_cfg(*VARIANTS[variant]))
    second_step = SecondStep("sparse")
    images = model.preprocess_image(pixels((256, 256))).tensor
    maps, survivors = first_step(model, images, second_step)

    def multiply_adds(plan) -> int:
        with FlopCounterMode(display=False) as counter:
            second_step(model.backbone, model.head, maps, plan)
        return counter.get_total_flops() // 2

    nothing = make_plan(second_step, model, survivors)
    survivors[0] = survivors[0].clone()
    clusters(survivors[0])
    sparse = make_plan(second_step, model, survivors)
    dense = {**sparse, "p2": sparse["p2"]._replace(sparse=False)}
    rest, sparse_work, dense_work = map(multiply_adds, (nothing, sparse, dense))
    share = (sparse_work - rest) / (dense_work - rest)
    assert 0.01 < share < 0.1
    # The plan leaves the small 1x1 prediction layers out.
    assert sparse["p2"].work_share == pytest.approx(share, rel=0.05)


def test_auto_is_dense_level_by_level_where_much_survives(small_cfg):
    model = make_model(small_cfg())
    survivors = [torch.zeros(1, 64 >> i, 64 >> i, dtype=torch.bool) for i in range(3)]
    one_cell(survivors[0])
    everywhere(survivors[1])
    plan = make_plan(SecondStep("auto"), model, [*survivors, None, None, None])
    assert [plan[level].sparse for level in LEVELS] == [True, False, True, False, False, False]
    assert plan["p2"].active_share == 1 / 64**2
    assert plan["p3"].active_share == plan["p3"].work_share == 1
    assert plan["p4"].work_share == 0
    assert 1 / 64**2 < plan["p2"].work_share < 121 / 64**2


@pytest.mark.parametrize(
    ("channels", "bfloat16", "is_sparse"),
    [(16, False, True), (16, True, False), (128, False, True), (128, True, True)],
)
def test_auto_knows_what_pays_in_each_type_and_width(small_cfg, channels, bfloat16, is_sparse):
    model = make_model(small_cfg("MODEL.FPN.OUT_CHANNELS", channels))
    survivors = torch.zeros(1, 32, 64, dtype=torch.bool)
    survivors[:, :, :24] = True
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        plan = make_plan(SecondStep("auto"), model, [survivors, *[None] * 5])
    assert 0.36 < plan["p2"].work_share < 0.49
    assert plan["p2"].sparse == is_sparse


def test_dense_defers_nothing(small_cfg):
    model = make_model(small_cfg("MODEL.SRN.SECOND_STEP", "dense"))
    assert model.second_step.unfinished_levels(model.backbone, model.head) == ()
    survivors = [torch.zeros(1, 4, 4, dtype=torch.bool)] * 3 + [None] * 3
    plan = make_plan(model.second_step, model, survivors)
    assert not any(level_plan.sparse for level_plan in plan.values())


@pytest.mark.numerics
@torch.no_grad()
def test_in_bfloat16_sparse_and_dense_differ_by_rounding(small_cfg):
    model = make_model(small_cfg())
    second_step = SecondStep("sparse")
    images = model.preprocess_image(pixels((131, 157))).tensor
    with torch.autocast("cpu", torch.bfloat16):
        maps, survivors = first_step(model, images, second_step)
        for mask in survivors[:3]:
            scattered(mask)
        plan = make_plan(second_step, model, survivors)
        scores, _ = second_step(model.backbone, model.head, maps, plan)
        for level, mask, x in zip(LEVELS[:3], survivors, scores, strict=False):
            expected = model.head.scores(model.backbone.outputs[level](maps[level]))
            assert x.dtype == torch.bfloat16
            torch.testing.assert_close(x, expected * mask[:, None], atol=0.02, rtol=0.02)


def test_an_unknown_mode_is_refused(small_cfg):
    with pytest.raises(ValueError, match=r"SECOND_STEP is 'tiles'.*'auto', 'dense', 'sparse'"):
        build_model(small_cfg("MODEL.SRN.SECOND_STEP", "tiles"))
