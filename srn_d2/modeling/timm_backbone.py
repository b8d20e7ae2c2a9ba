"""Networks of timm as the bottom-up path of SRN's pyramid.

Shapes: the map of stride S is (N, C, H/S, W/S), rounded up where the network pads (ResNet,
EfficientNet and its like, "tf_" models with their SAME padding among them), and down where it cuts
the image into patches (ConvNeXt and its like).
"""

import difflib
import logging
from types import ModuleType

import numpy as np
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn

from .backbone import PYRAMID_INPUTS, SRNFPN, build_srn_fpn
from .folded_norm import fold_batch_norms

STRIDES = (4, 8, 16, 32)
NORMS = ("BN", "FrozenBN")

logger = logging.getLogger(__name__)


class TimmBackbone(Backbone):
    """A timm network, randomly initialised, that returns its maps of strides 4, 8, 16 and 32.

    Its weights keep timm's names, below ``net``. The classifier's layers are not built.

    Frozen modules have no gradient and stay in evaluation mode in training, so that statistics of
    batch normalisation do not change either. With "FrozenBN" the normalisation is folded into the
    convolutions (:func:`fold_batch_norms`); names in the state dict stay.

    Args:
        name: a name that ``timm.list_models()`` lists; its tag of weights, if any, has no effect.
        norm: "BN": batch normalisation learns; "FrozenBN": it uses the loaded statistics, weights
            and biases unchanged, everywhere. Normalisation of other kinds always learns.
        freeze_at: 0: nothing is frozen; 1: all that comes before the stage of stride 4 (the stem);
            2 .. 5: all up to the end of the stage of stride 4, 8, 16 or 32.

    Shapes: (N, 3, H, W) -> {"c2": (N, C2, H/4, W/4), .., "c5": (N, C5, H/32, W/32)}.

    Raises:
        ImportError: if timm is not installed.
        ValueError: if timm does not know the name (the message says which names are close), if the
            network has no maps of these strides, or if it cannot be frozen as asked.
    """

    def __init__(self, name: str, *, norm: str = "BN", freeze_at: int = 0):
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"MODEL.TIMM.NORM is {norm!r}; valid are {list(NORMS)}")
        self.name = name
        self.net = _create_features(name)
        if norm == "FrozenBN":
            fold_batch_norms(self.net, (1, 3, 64, 64))
        info = self.net.feature_info
        self._channels_last = str(getattr(self.net, "output_fmt", "")).endswith("NHWC")
        self._frozen = [
            *_first_stages(self.net, info.module_name(), name, freeze_at),
            *(_batch_norms(self.net, name) if norm == "FrozenBN" else ()),
        ]
        for module in self._frozen:
            module.requires_grad_(False)
        self.train(self.training)

        self._out_features = list(PYRAMID_INPUTS)
        self._out_feature_strides = dict(zip(PYRAMID_INPUTS, STRIDES, strict=True))
        self._out_feature_channels = dict(zip(PYRAMID_INPUTS, info.channels(), strict=True))

    def train(self, mode: bool = True) -> "TimmBackbone":
        super().train(mode)
        for module in self._frozen:
            module.training = False
        return self

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        maps = self.net(image)
        if self._channels_last:
            maps = [x.permute(0, 3, 1, 2) for x in maps]  # (N, H, W, C) -> (N, C, H, W)
        return dict(zip(PYRAMID_INPUTS, maps, strict=True))


@BACKBONE_REGISTRY.register()
def build_srn_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> SRNFPN:
    """SRN's pyramid on the timm network MODEL.TIMM.NAME.

    Warns if MODEL.PIXEL_MEAN and PIXEL_STD are not those of its pretrained weights.
    """
    bottom_up = TimmBackbone(
        cfg.MODEL.TIMM.NAME, norm=cfg.MODEL.TIMM.NORM, freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT
    )
    for key, of_model in (("PIXEL_MEAN", "mean"), ("PIXEL_STD", "std")):
        expected = [255 * value for value in bottom_up.net.pretrained_cfg[of_model]]
        if not np.allclose(cfg.MODEL[key], expected, atol=0.5):
            logger.warning(
                "MODEL.%s is %s, but pretrained %s expects %s",
                *(key, cfg.MODEL[key], cfg.MODEL.TIMM.NAME, [round(v, 3) for v in expected]),
            )
    return build_srn_fpn(cfg, bottom_up)


def _import_timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            "MODEL.BACKBONE.NAME build_srn_timm_fpn_backbone needs timm: pip install timm"
        ) from error
    return timm


def _create_features(name: str) -> nn.Module:
    """Create the timm network with a list of its maps of ``STRIDES`` as output."""
    timm = _import_timm()
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=5)
        raise ValueError(f"MODEL.TIMM.NAME {name!r}: timm has no such model; close: {close}")
    # The indices of the strides are known only once the network is built.
    info = timm.create_model(name, pretrained=False, features_only=True).feature_info
    strides = [stage["reduction"] for stage in info.info]
    if not set(STRIDES) <= set(strides):
        raise ValueError(
            f"MODEL.TIMM.NAME {name!r} has maps of strides {strides}; strides {list(STRIDES)} "
            "are needed"
        )
    last_of = {stride: index for index, stride in enumerate(strides)}
    indices = tuple(last_of[stride] for stride in STRIDES)
    return timm.create_model(name, pretrained=False, features_only=True, out_indices=indices)


def _first_stages(
    net: nn.Module, stage_modules: list[str], name: str, freeze_at: int
) -> list[nn.Module]:
    """The modules that ``freeze_at`` freezes, in the order of registration, which is timm's order
    of use. ``stage_modules``: the original names of the modules that give the four maps."""
    if not 0 <= freeze_at <= len(stage_modules) + 1:
        raise ValueError(f"MODEL.BACKBONE.FREEZE_AT is {freeze_at}; valid are 0 .. 5")
    if freeze_at == 0:
        return []
    # timm's feature extraction renames "stages.0" to "stages_0".
    names = [path.replace(".", "_") for path, _ in net.named_modules()]
    stage = stage_modules[max(freeze_at - 2, 0)].replace(".", "_")
    if stage not in names:
        raise ValueError(f"MODEL.BACKBONE.FREEZE_AT must be 0: {name} has no module {stage!r}")
    modules = list(net.modules())
    end = names.index(stage)
    if freeze_at > 1:
        end += len(list(modules[end].modules()))
    first = set(modules[:end])
    # Excludes containers of later modules, such as the whole network.
    return [module for module in modules[:end] if first.issuperset(module.modules())]


def _batch_norms(net: nn.Module, name: str) -> list[nn.Module]:
    kinds = (nn.BatchNorm2d, nn.SyncBatchNorm)
    norms = [module for module in net.modules() if isinstance(module, kinds)]
    if not norms:
        raise ValueError(f"MODEL.TIMM.NORM 'FrozenBN': {name} has no batch normalisation")
    return norms
