"""The network, matching and losses; importing it fills detectron2's registries."""

from .anchor_generator import ReleasedAnchorGenerator
from .backbone import SRNFPN, build_srn_fpn, build_srn_resnet_fpn_backbone
from .criterion import SRNCriterion
from .level_selection import LEVELS, LevelSelection
from .rfe import RFE
from .srn import SRN
from .srn_head import SRNHead, SRNPredictions
from .timm_backbone import TimmBackbone, build_srn_timm_fpn_backbone

__all__ = [
    "LEVELS",
    "RFE",
    "SRN",
    "SRNFPN",
    "LevelSelection",
    "ReleasedAnchorGenerator",
    "SRNCriterion",
    "SRNHead",
    "SRNPredictions",
    "TimmBackbone",
    "build_srn_fpn",
    "build_srn_resnet_fpn_backbone",
    "build_srn_timm_fpn_backbone",
]
