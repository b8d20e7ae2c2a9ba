import builtins
import logging

import pytest
import torch
from detectron2.modeling import build_backbone, build_model
from detectron2.structures import Boxes, Instances
from torch import nn

pytest.importorskip("timm", reason="timm is not installed: pip install timm")

from srn_d2.modeling import LEVELS, TimmBackbone

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture
def timm_cfg(small_cfg):
    """Make the config of a tiny SRN on a network of timm."""

    def make(name, *opts):
        return small_cfg(
            *("MODEL.BACKBONE.NAME", "build_srn_timm_fpn_backbone", "MODEL.TIMM.NAME", name),
            *("MODEL.FPN.IN_FEATURES", ["c2", "c3", "c4", "c5"]),
            *("MODEL.PIXEL_MEAN", [127.5] * 3, "MODEL.PIXEL_STD", [127.5] * 3),
            *opts,
        )

    return make


def training_input() -> list[dict]:
    """Two images, one of them without a face."""
    faces = Instances((128, 128))
    faces.gt_boxes = Boxes([[10.0, 12.0, 30.0, 36.0], [8.0, 8.0, 118.0, 124.0]])
    nobody = Instances((128, 128))
    nobody.gt_boxes = Boxes(torch.zeros(0, 4))
    inputs = []
    for instances in (faces, nobody):
        instances.gt_classes = torch.zeros(len(instances), dtype=torch.int64)
        instances.gt_ignore = torch.zeros(len(instances), dtype=torch.bool)
        image = torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8)
        inputs.append({"image": image, "instances": instances, "height": 128, "width": 128})
    return inputs


def off_zero(module: nn.Module) -> None:
    """Move scales off the zeros and near zeros at which residual branches start."""
    for value in module.parameters():
        if value.ndim == 1:
            nn.init.uniform_(value, 0.5, 1.5)


def batch_norms(backbone: TimmBackbone) -> list[nn.Module]:
    return [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        (LITE0, (24, 40, 112, 320)),
        ("resnet18", (64, 128, 256, 512)),
        ("mambaout_femto", (48, 96, 192, 288)),  # channels last
    ],
)
def test_maps_have_their_stride_rounded_up_on_odd_sizes(name, channels):
    backbone = TimmBackbone(name).eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 203, 301))
    assert list(maps) == ["c2", "c3", "c4", "c5"]
    for (key, spec), expected in zip(backbone.output_shape().items(), channels, strict=True):
        assert spec.stride == 2 ** int(key[1])
        assert spec.channels == expected
        size = (-(-203 // spec.stride), -(-301 // spec.stride))
        assert maps[key].shape == (1, expected, *size)


def test_a_network_without_padding_rounds_down():
    maps = TimmBackbone("convnext_femto")(torch.rand(1, 3, 67, 99))
    assert [tuple(x.shape[-2:]) for x in maps.values()] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("name", [LITE0, "resnet18"])
def test_every_trainable_parameter_of_the_model_gets_a_gradient(timm_cfg, name):
    torch.manual_seed(0)
    model = build_model(timm_cfg(name)).train()
    bottom_up = model.backbone.bottom_up
    off_zero(bottom_up)
    sum(model(training_input()).values()).backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []
    assert [key for key, value in bottom_up.named_parameters() if not value.grad.any()] == []


def test_pyramid_of_an_unpadded_odd_size(timm_cfg):
    backbone = build_backbone(timm_cfg(LITE0, "MODEL.SRN.SIZE_DIVISIBILITY", 1)).eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 203, 301))
    assert [tuple(maps[level].shape[-2:]) for level in LEVELS[:4]] == [
        *((51, 76), (26, 38), (13, 19), (7, 10))
    ]


def train_one_step(backbone: TimmBackbone) -> tuple[set[str], set[str]]:
    """Names of the tensors that a step of SGD leaves and of those that it changes."""
    off_zero(backbone)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    trainable = [value for value in backbone.parameters() if value.requires_grad]
    optimizer = torch.optim.SGD([{"params": trainable}], lr=0.1)
    maps = backbone.train()(torch.randn(2, 3, 64, 64)).values()
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()
    optimizer.step()
    changed = {
        key for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])
    }
    return set(before) - changed, changed


@pytest.mark.parametrize(
    ("name", "freeze_at", "frozen"),
    [
        (LITE0, 0, ()),
        (LITE0, 1, ("conv_stem", "bn1", "blocks.0")),
        (LITE0, 2, ("conv_stem", "bn1", "blocks.0", "blocks.1")),
        (LITE0, 4, ("conv_stem", "bn1", *(f"blocks.{i}" for i in range(5)))),
        ("resnet18", 1, ("conv1", "bn1")),
        ("resnet18", 2, ("conv1", "bn1", "layer1")),
        ("convnext_femto", 1, ("stem_0", "stem_1")),
        ("convnext_femto", 2, ("stem_0", "stem_1", "stages_0")),
    ],
)
def test_frozen_stages_do_not_change_in_a_step_and_all_others_do(name, freeze_at, frozen):
    torch.manual_seed(0)
    kept, changed = train_one_step(TimmBackbone(name, freeze_at=freeze_at))
    of_frozen = tuple(f"net.{module}." for module in frozen)
    assert not [key for key in changed if of_frozen and key.startswith(of_frozen)]
    assert not [key for key in kept if not (of_frozen and key.startswith(of_frozen))]


def test_all_stages_can_be_frozen():
    backbone = TimmBackbone("resnet18", freeze_at=5).train()
    assert not any(value.requires_grad for value in backbone.parameters())
    assert not any(module.training for module in batch_norms(backbone))


@pytest.mark.parametrize("name", [LITE0, "resnet18"])
def test_frozen_batch_norm_keeps_all_it_has_while_convolutions_learn(name):
    torch.manual_seed(0)
    backbone = TimmBackbone(name, norm="FrozenBN")
    norms = {key for key, module in backbone.named_modules() if isinstance(module, nn.BatchNorm2d)}
    kept, changed = train_one_step(backbone)
    assert norms
    assert {key.rpartition(".")[0] for key in kept} == norms
    assert not {key.rpartition(".")[0] for key in changed} & norms


@pytest.mark.numerics
def test_frozen_batch_norm_computes_what_evaluation_computes_with_the_activations():
    torch.manual_seed(0)
    learning, frozen = TimmBackbone(LITE0), TimmBackbone(LITE0, norm="FrozenBN")
    for module in batch_norms(learning):
        module.running_mean.uniform_(-0.5, 0.5)
        module.running_var.uniform_(0.5, 2)
    frozen.load_state_dict(learning.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected, computed = learning.eval()(image), frozen.train()(image)
    for key, value in expected.items():
        torch.testing.assert_close(computed[key], value, rtol=1e-4, atol=1e-4)


def test_frozen_parts_of_a_whole_model_stay_in_evaluation_mode(timm_cfg):
    model = build_model(timm_cfg(LITE0, "MODEL.BACKBONE.FREEZE_AT", 2))
    model.eval()
    model.train()
    net = model.backbone.bottom_up.net
    assert not any(module.training for module in net.blocks[1].modules())
    assert all(module.training for module in net.blocks[2].modules())
    frozen_norm = build_model(timm_cfg(LITE0, "MODEL.TIMM.NORM", "FrozenBN")).train()
    assert not any(module.training for module in batch_norms(frozen_norm.backbone.bottom_up))


def test_other_mean_and_std_than_the_pretrained_are_warned_of(timm_cfg, caplog):
    with caplog.at_level(logging.WARNING):
        build_backbone(timm_cfg(LITE0))
    assert "PIXEL" not in caplog.text
    with caplog.at_level(logging.WARNING):
        build_backbone(timm_cfg("resnet18"))
    assert "MODEL.PIXEL_MEAN is [127.5, 127.5, 127.5]" in caplog.text
    assert "resnet18 expects [123.675, 116.28, 103.53]" in caplog.text
    assert "MODEL.PIXEL_STD" in caplog.text


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"name": "tf_eficientnet_lit0"}, "close: .*'tf_efficientnet_lite0'"),
        ({"name": "levit_128s"}, r"levit_128s.*strides \[16, 32, 64\].*\[4, 8, 16, 32\]"),
        ({"name": LITE0, "norm": "GN"}, "MODEL.TIMM.NORM.*FrozenBN"),
        ({"name": "convnext_femto", "norm": "FrozenBN"}, "convnext_femto has no batch norm"),
        ({"name": LITE0, "freeze_at": 6}, "FREEZE_AT is 6; valid are 0 .. 5"),
        ({"name": LITE0, "freeze_at": -1}, "FREEZE_AT is -1"),
        ({"name": "hrnet_w18_small", "freeze_at": 1}, "FREEZE_AT must be 0: hrnet_w18_small"),
    ],
)
def test_what_cannot_be_built_is_explained(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TimmBackbone(**kwargs)


def test_without_timm_the_message_says_how_to_install_it(timm_cfg, monkeypatch):
    original = builtins.__import__

    def no_timm(name, *args, **kwargs):
        if name == "timm":
            raise ModuleNotFoundError("No module named 'timm'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_timm)
    with pytest.raises(ImportError, match="pip install timm"):
        build_backbone(timm_cfg(LITE0))
