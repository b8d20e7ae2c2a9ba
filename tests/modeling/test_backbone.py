import pytest
import torch
from detectron2.modeling import build_backbone

from srn_d2.modeling import LEVELS, SRNFPN


def test_every_level_has_its_stride_and_the_same_channels(small_cfg):
    backbone = build_backbone(small_cfg())
    maps = backbone(torch.rand(2, 3, 96, 160))
    assert list(maps) == ["c2", "c3", "c4", "c5", "c6", "c7", *LEVELS]
    for name, spec in backbone.output_shape().items():
        stride = 2 ** int(name[1])
        assert spec.stride == stride
        assert maps[name].shape == (2, 16, -(-96 // stride), -(-160 // stride))


@pytest.mark.parametrize(
    ("stc", "str_", "c6", "c7"),
    [
        ([], [], False, False),
        (["p2"], ["p5"], False, False),
        ([], ["p6"], True, False),
        (["p7"], [], True, True),
    ],
)
def test_c6_and_c7_exist_only_where_the_first_step_needs_them(small_cfg, stc, str_, c6, c7):
    cfg = small_cfg("MODEL.SRN.STC_LEVELS", stc, "MODEL.SRN.STR_LEVELS", str_)
    backbone = build_backbone(cfg).eval()
    assert (backbone.c6 is not None) == c6
    assert (backbone.c7 is not None) == c7
    assert list(backbone(torch.rand(1, 3, 32, 32))) == [
        *(level.replace("p", "c") for level in sorted([*stc, *str_])),
        *LEVELS,
    ]


@pytest.mark.numerics
def test_top_down_path_is_the_sum_of_lateral_and_nearest(small_cfg):
    backbone = build_backbone(small_cfg()).eval()
    image = torch.rand(1, 3, 64, 64)
    maps = backbone(image)
    bottom_up = backbone.bottom_up(image)
    c5 = backbone.laterals["c5"](bottom_up["res5"])
    repeated = c5.repeat_interleave(2, 2).repeat_interleave(2, 3)
    merged = backbone.laterals["c4"](bottom_up["res4"]) + repeated
    torch.testing.assert_close(maps["p4"], backbone.outputs["p4"](merged))
    torch.testing.assert_close(maps["p6"], backbone.p6(backbone.outputs["p5"](c5)))


@pytest.mark.numerics
def test_released_network_enlarges_bilinearly_to_odd_sizes_and_reads_p6_from_the_lateral(small_cfg):
    cfg = small_cfg(
        *("MODEL.SRN.UPSAMPLE", "bilinear", "MODEL.SRN.P6_SOURCE", "c5_lateral"),
        *("MODEL.SRN.SIZE_DIVISIBILITY", 1),
    )
    backbone = build_backbone(cfg).eval()
    assert backbone.size_divisibility == 1
    image = torch.rand(1, 3, 203, 301)
    maps = backbone(image)
    assert maps["p2"].shape[-2:] == (51, 76)
    bottom_up = backbone.bottom_up(image)
    c5 = backbone.laterals["c5"](bottom_up["res5"])
    torch.testing.assert_close(maps["p6"], backbone.p6(c5))
    lateral = backbone.laterals["c4"](bottom_up["res4"])
    merged = backbone._enlarge(c5, lateral)
    # Aligned corners: the four corner values are those of the smaller map.
    for y in (0, -1):
        for x in (0, -1):
            torch.testing.assert_close(merged[..., y, x], c5[..., y, x])


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("MODEL.SRN.UPSAMPLE", "cubic", "nearest"),
        ("MODEL.SRN.P6_SOURCE", "p4", "c5_lateral"),
        ("MODEL.FPN.IN_FEATURES", ["res2", "res3"], "strides 4, 8, 16"),
    ],
)
def test_bad_options_name_the_key_and_what_is_valid(small_cfg, key, value, valid):
    with pytest.raises(ValueError, match=key) as error:
        build_backbone(small_cfg(key, value))
    assert valid in str(error.value)


def test_norm_replaces_the_bias(small_cfg):
    plain = build_backbone(small_cfg("MODEL.FPN.NORM", ""))
    normed = build_backbone(small_cfg("MODEL.FPN.NORM", "BN"))
    assert isinstance(plain, SRNFPN)
    assert plain.p6.bias is not None
    assert torch.count_nonzero(plain.p6.bias) == 0
    assert normed.p6.bias is None
