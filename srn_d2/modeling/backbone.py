"""The feature pyramid of SRN: C2..C7 for the first step, P2..P7 for the second.

Shapes: level l has stride S = 2^l; its map is (N, channels, Hl, Wl) with Hl = ceil(H / S) where
H and W are multiples of the size divisibility, or for any H and W otherwise.
"""

from collections.abc import Collection, Sequence

import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import Conv2d, FrozenBatchNorm2d, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY, Backbone, build_resnet_backbone
from fvcore.nn import weight_init
from torch import Tensor, nn

from .level_selection import LEVELS, LevelSelection
from .subnets import CONVOLUTIONS, separable_conv

UPSAMPLE_MODES = ("nearest", "bilinear")
P6_SOURCES = ("p5", "c5_lateral")
PYRAMID_INPUTS = ("c2", "c3", "c4", "c5")


class SRNFPN(Backbone):
    """A feature pyramid that also returns its bottom-up maps.

    C6 and C7 continue the bottom-up path by plain 3x3 stride-2 convolutions after C5, P6 and P7
    the top-down path after P5; no activation lies between. Each bottom-up map that the first
    step needs goes through a 1x1 convolution of its own to the pyramid's channels; C6, C7 and
    those convolutions exist only where they are needed.

    Source: paper section 3.1; channels of C6 and C7 from the released checkpoint's layout.

    Args:
        bottom_up: network with feature maps of strides 4, 8, 16 and 32.
        in_features: names of these four maps in ``bottom_up``'s output, finest first.
        out_channels: channels of every output map.
        first_step_features: names, among c2 .. c7, of the bottom-up maps to return.
        c6_channels, c7_channels: channels of C6 and C7 before their 1x1 convolution.
        norm: normalisation after each convolution here, a name of
            :func:`detectron2.layers.get_norm`; "": none, a bias instead.
        upsample: "nearest" as in FPN [paper], or "bilinear" with aligned corners [released].
        p6_source: input of P6's convolution, "p5" [paper] or "c5_lateral" [released].
        size_divisibility: multiple, in pixels, to which detectron2 pads height and width. With 1
            nothing is padded, and each top-down map is enlarged to the size of its lateral one.
        convolution: kind of the 3x3 convolutions, see ``subnets.CONVOLUTIONS``; "separable" goes
            with ``norm`` "" only.

    Shapes: (N, 3, H, W) -> {"c2": (N, out_channels, H2, W2), .., "p7": ..}, c2..c7 first.
    """

    def __init__(
        self,
        bottom_up: Backbone,
        in_features: Sequence[str],
        out_channels: int,
        *,
        first_step_features: Sequence[str] = (),
        c6_channels: int = 1024,
        c7_channels: int = 256,
        norm: str = "",
        upsample: str = "nearest",
        p6_source: str = "p5",
        size_divisibility: int = 32,
        convolution: str = "plain",
    ):
        super().__init__()
        _check_option("MODEL.SRN.UPSAMPLE", upsample, UPSAMPLE_MODES)
        _check_option("MODEL.SRN.P6_SOURCE", p6_source, P6_SOURCES)
        _check_option("MODEL.SRN.PYRAMID_CONVOLUTION", convolution, CONVOLUTIONS)
        if convolution == "separable" and norm:
            raise ValueError("MODEL.SRN.PYRAMID_CONVOLUTION 'separable' needs MODEL.FPN.NORM ''")
        self.bottom_up = bottom_up
        self.in_features = tuple(in_features)
        self.first_step_features = tuple(first_step_features)
        self.upsample = upsample
        self.p6_source = p6_source
        self._size_divisibility = size_divisibility

        channels = _pyramid_channels(bottom_up.output_shape(), self.in_features)
        self.laterals = nn.ModuleDict(
            {name: _conv(channels[name], out_channels, 1, norm=norm) for name in PYRAMID_INPUTS}
        )

        def conv3x3(inputs: int, outputs: int, stride: int) -> nn.Module:
            if convolution == "separable":
                return separable_conv(inputs, outputs, stride)
            return _conv(inputs, outputs, 3, stride=stride, norm=norm)

        self.outputs = nn.ModuleDict(
            {level: conv3x3(out_channels, out_channels, 1) for level in LEVELS[:4]}
        )
        self.p6 = conv3x3(out_channels, out_channels, 2)
        self.p7 = conv3x3(out_channels, out_channels, 2)

        channels.update(c6=c6_channels, c7=c7_channels)
        deepest = max(self.first_step_features, default="")
        self.c6 = self.c7 = None
        if deepest >= "c6":
            self.c6 = conv3x3(channels["c5"], c6_channels, 2)
        if deepest >= "c7":
            self.c7 = conv3x3(c6_channels, c7_channels, 2)
        self.first_step_convs = nn.ModuleDict(
            {
                name: _conv(channels[name], out_channels, 1, norm=norm)
                for name in self.first_step_features
            }
        )

        self._out_features = [*self.first_step_features, *LEVELS]
        self._out_feature_strides = {name: 2 ** int(name[1:]) for name in self._out_features}
        self._out_feature_channels = dict.fromkeys(self._out_features, out_channels)

    @property
    def size_divisibility(self) -> int:
        return self._size_divisibility

    @property
    def deferrable_levels(self) -> tuple[str, ...]:
        """Levels whose 3x3 output convolution the second step can compute at selected cells.

        Among p2 .. p4, as P6 is computed from P5; none with normalisation over whole maps (GN),
        and no separable convolution, which costs too little for that.
        """
        norms = (nn.modules.batchnorm._BatchNorm, FrozenBatchNorm2d, type(None))
        return tuple(
            x
            for x in LEVELS[:3]
            if isinstance(self.outputs[x], Conv2d) and isinstance(self.outputs[x].norm, norms)
        )

    def forward(self, image: Tensor, unfinished: Collection[str] = ()) -> dict[str, Tensor]:
        """
        Args:
            image: (N, 3, H, W), normalised.
            unfinished: levels, among ``deferrable_levels``, that are returned without their 3x3
                output convolution, ``outputs[level]``; the caller applies it at selected cells.
        """
        maps = self.bottom_up(image)
        bottom_up = dict(
            zip(PYRAMID_INPUTS, (maps[name] for name in self.in_features), strict=True)
        )
        first_step = self._first_step_maps(bottom_up)
        return {**first_step, **self._second_step_maps(bottom_up, unfinished)}

    def _first_step_maps(self, bottom_up: dict[str, Tensor]) -> dict[str, Tensor]:
        maps = dict(bottom_up)
        if self.c6 is not None:
            maps["c6"] = self.c6(maps["c5"])
        if self.c7 is not None:
            maps["c7"] = self.c7(maps["c6"])
        return {name: conv(maps[name]) for name, conv in self.first_step_convs.items()}

    def _second_step_maps(
        self, bottom_up: dict[str, Tensor], unfinished: Collection[str]
    ) -> dict[str, Tensor]:
        lateral = {name: conv(bottom_up[name]) for name, conv in self.laterals.items()}
        merged = {"p5": lateral["c5"]}
        for level, above, name in (("p4", "p5", "c4"), ("p3", "p4", "c3"), ("p2", "p3", "c2")):
            merged[level] = lateral[name] + self._enlarge(merged[above], lateral[name])
        maps = {
            level: merged[level] if level in unfinished else conv(merged[level])
            for level, conv in self.outputs.items()
        }
        maps["p6"] = self.p6(maps["p5"] if self.p6_source == "p5" else lateral["c5"])
        maps["p7"] = self.p7(maps["p6"])
        return maps

    def _enlarge(self, x: Tensor, like: Tensor) -> Tensor:
        aligned = True if self.upsample == "bilinear" else None
        return F.interpolate(x, size=like.shape[-2:], mode=self.upsample, align_corners=aligned)


@BACKBONE_REGISTRY.register()
def build_srn_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> SRNFPN:
    """SRN's pyramid on detectron2's ResNet (MODEL.RESNETS, any depth)."""
    return build_srn_fpn(cfg, build_resnet_backbone(cfg, input_shape))


def build_srn_fpn(cfg: CfgNode, bottom_up: Backbone) -> SRNFPN:
    """SRN's pyramid on ``bottom_up``, whose maps MODEL.FPN.IN_FEATURES names (strides 4 .. 32)."""
    srn = cfg.MODEL.SRN
    return SRNFPN(
        bottom_up,
        cfg.MODEL.FPN.IN_FEATURES,
        cfg.MODEL.FPN.OUT_CHANNELS,
        first_step_features=LevelSelection(srn.STC_LEVELS, srn.STR_LEVELS).first_step_features,
        c6_channels=srn.C6_CHANNELS,
        c7_channels=srn.C7_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        upsample=srn.UPSAMPLE,
        p6_source=srn.P6_SOURCE,
        size_divisibility=srn.SIZE_DIVISIBILITY,
        convolution=srn.PYRAMID_CONVOLUTION,
    )


def _pyramid_channels(shapes: dict[str, ShapeSpec], in_features: tuple[str, ...]) -> dict[str, int]:
    strides = [shapes[name].stride for name in in_features if name in shapes]
    if strides != [4, 8, 16, 32]:
        raise ValueError(
            f"MODEL.FPN.IN_FEATURES {list(in_features)} must name four maps of strides 4, 8, 16 "
            f"and 32; the bottom-up network gives { {k: v.stride for k, v in shapes.items()} }"
        )
    return {c: shapes[name].channels for c, name in zip(PYRAMID_INPUTS, in_features, strict=True)}


def _conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, norm: str) -> Conv2d:
    conv = Conv2d(
        inputs,
        outputs,
        kernel,
        stride=stride,
        padding=kernel // 2,
        bias=norm == "",
        norm=get_norm(norm, outputs),
    )
    weight_init.c2_xavier_fill(conv)
    return conv


def _check_option(key: str, value: str, valid: Sequence[str]) -> None:
    if value not in valid:
        raise ValueError(f"{key} is {value!r}; valid are {list(valid)}")
