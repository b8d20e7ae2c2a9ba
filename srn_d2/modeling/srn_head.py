"""The head: a class subnet and a box subnet, shared by all levels and by both steps."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_anchor_generator
from detectron2.modeling.meta_arch.dense_detector import permute_to_N_HWA_K
from fvcore.nn import weight_init
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .level_selection import LEVELS, LevelSelection, ordered_levels
from .subnets import conv_stack, subnet


class SRNPredictions(NamedTuple):
    """Predictions of the head: lists over the levels p2 .. p7, None where a step has none.

    Scores are logits (N, A, Hl, Wl), deltas are (N, A * 4, Hl, Wl), anchor-major. A level has
    Rl = Hl * Wl * A anchors.
    """

    scores_s1: list[Tensor | None]
    deltas_s1: list[Tensor | None]
    scores_s2: list[Tensor]
    deltas_s2: list[Tensor]

    def flatten(self) -> "SRNPredictions":
        """Maps to anchors: scores (N, A, Hl, Wl) -> (N, Rl), deltas -> (N, Rl, 4)."""

        def flatten_deltas(levels: list[Tensor | None]) -> list[Tensor | None]:
            return [None if x is None else permute_to_N_HWA_K(x, 4) for x in levels]

        return SRNPredictions(
            scores_s1=flatten_scores(self.scores_s1),
            deltas_s1=flatten_deltas(self.deltas_s1),
            scores_s2=flatten_scores(self.scores_s2),
            deltas_s2=flatten_deltas(self.deltas_s2),
        )


def flatten_scores(levels: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Maps of one value per anchor (N, A, Hl, Wl) to anchors (N, Rl), level by level."""
    return [None if x is None else permute_to_N_HWA_K(x, 1).squeeze(-1) for x in levels]


def cat_levels(levels: Sequence[Tensor | None]) -> Tensor:
    """Concatenate per-level (N, Rl, ...) over the levels that are not None."""
    return torch.cat([level for level in levels if level is not None], dim=1)


FIRST_STEP_SUBNETS = ("shared", "own_prediction", "own")


class SRNHead(nn.Module):
    """Class and box subnets: 3x3 conv, RFE, 3x3 conv, each with ReLU, then a 1x1 prediction.

    Only what a step needs is computed: first-step scores on STC levels, first-step deltas on STR
    levels, second-step scores and deltas on all levels. All layers serve all levels, and both
    steps unless ``first_step_subnet`` says otherwise.

    Source: paper sections 3.1 and 3.4; the 1x1 prediction from the released checkpoint's layout.

    Args:
        channels: channels of every input map and of the subnets.
        num_anchors: anchors A of a cell, the same on all levels.
        level_selection: levels of each step.
        use_rfe: False: two plain 3x3 convolutions in place of RFE, as in RetinaNet.
        prediction_init_std: standard deviation of the prediction convolutions' initial weights; 0:
            xavier.
        prior_prob: initial probability of "face", in (0, 1).
        recomputed_levels: levels, among p2 .. p7, with activation checkpointing of the subnets in
            both steps: activations are recomputed in the backward pass.
        convolution: kind of the subnets' 3x3 convolutions, see ``subnets.CONVOLUTIONS``.
        first_step_subnet: layers of the first step: "shared" with the second [paper];
            "own_prediction": the subnets are shared, the 1x1 predictions are not; "own": nothing
            is shared.
        first_step_convs: number of 3x3 convolutions of the first step's own subnets, at least 1.

    Raises:
        ValueError: an option has a wrong value; the message names its key.
    """

    @configurable
    def __init__(
        self,
        *,
        channels: int,
        num_anchors: int,
        level_selection: LevelSelection,
        use_rfe: bool = True,
        prediction_init_std: float = 0.0,
        prior_prob: float = 0.01,
        recomputed_levels: Sequence[str] = (),
        convolution: str = "plain",
        first_step_subnet: str = "shared",
        first_step_convs: int = 4,
    ):
        super().__init__()
        _check_first_step(first_step_subnet, first_step_convs)
        self.level_selection = level_selection
        self.recomputed_levels = ordered_levels(recomputed_levels, "MODEL.SRN.RECOMPUTED_LEVELS")
        self.cls_subnet = subnet(channels, use_rfe, convolution)
        self.bbox_subnet = subnet(channels, use_rfe, convolution)

        self.cls_score = nn.Conv2d(channels, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(channels, num_anchors * 4, 1)
        # None: the first step uses the second step's.
        self.cls_subnet_s1 = self.bbox_subnet_s1 = self.cls_score_s1 = self.bbox_pred_s1 = None
        has_scores, has_deltas = bool(level_selection.stc_levels), bool(level_selection.str_levels)
        if first_step_subnet != "shared":
            self.cls_score_s1 = nn.Conv2d(channels, num_anchors, 1) if has_scores else None
            self.bbox_pred_s1 = nn.Conv2d(channels, num_anchors * 4, 1) if has_deltas else None
        for conv in (self.cls_score, self.bbox_pred, self.cls_score_s1, self.bbox_pred_s1):
            if conv is not None:
                weight_init.c2_xavier_fill(conv)
                if prediction_init_std > 0:
                    nn.init.normal_(conv.weight, std=prediction_init_std)
        for conv in (self.cls_score, self.cls_score_s1):
            if conv is not None:
                nn.init.constant_(conv.bias, -math.log((1 - prior_prob) / prior_prob))
        if first_step_subnet == "own":
            own = partial(conv_stack, channels, first_step_convs, convolution)
            self.cls_subnet_s1 = own() if has_scores else None
            self.bbox_subnet_s1 = own() if has_deltas else None

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        srn = cfg.MODEL.SRN
        shapes = [input_shape[level] for level in LEVELS]
        num_anchors = set(build_anchor_generator(cfg, shapes).num_anchors)
        if len(num_anchors) != 1:
            raise ValueError(
                f"the head is shared: all levels need the same number of anchors, not {num_anchors}"
            )
        return {
            "channels": shapes[0].channels,
            "num_anchors": num_anchors.pop(),
            "level_selection": LevelSelection(srn.STC_LEVELS, srn.STR_LEVELS),
            "use_rfe": srn.RFE,
            "prediction_init_std": srn.PREDICTION_INIT_STD,
            "prior_prob": srn.PRIOR_PROB,
            "recomputed_levels": srn.RECOMPUTED_LEVELS,
            "convolution": srn.HEAD_CONVOLUTION,
            "first_step_subnet": srn.FIRST_STEP_SUBNET,
            "first_step_convs": srn.FIRST_STEP_CONVS,
        }

    @property
    def is_separable(self) -> bool:
        """Whether the subnets have separable convolutions."""
        return self.cls_subnet[0].groups > 1

    def forward(self, features: Sequence[Tensor]) -> SRNPredictions:
        """Predict from the maps that ``level_selection.features`` names, in that order."""
        maps = dict(zip(self.level_selection.features, features, strict=True))
        scores_s1, deltas_s1 = self.first_step(maps)
        return SRNPredictions(
            scores_s1=scores_s1,
            deltas_s1=deltas_s1,
            scores_s2=[self._predict(self.scores, maps, level) for level in LEVELS],
            deltas_s2=[self._predict(self.deltas, maps, level) for level in LEVELS],
        )

    def first_step(
        self, maps: dict[str, Tensor]
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """First-step scores and deltas, in the layout of :class:`SRNPredictions`, from c2 .. c7."""
        selection = self.level_selection
        scores = [
            self._predict(self.scores_s1, maps, f"c{level[1:]}")
            if selection.has_stc(level)
            else None
            for level in LEVELS
        ]
        deltas = [
            self._predict(self.deltas_s1, maps, f"c{level[1:]}")
            if selection.has_str(level)
            else None
            for level in LEVELS
        ]
        return scores, deltas

    def _predict(
        self, subnet: Callable[[Tensor], Tensor], maps: dict[str, Tensor], name: str
    ) -> Tensor:
        """``scores`` or ``deltas`` of the map of this name, c2 .. p7."""
        if torch.is_grad_enabled() and f"p{name[1:]}" in self.recomputed_levels:
            return checkpoint(subnet, maps[name], use_reentrant=False)
        return subnet(maps[name])

    def scores(self, x: Tensor) -> Tensor:
        """Logits of "face": (N, C, H, W) -> (N, A, H, W)."""
        return self.cls_score(self.cls_subnet(x))

    def deltas(self, x: Tensor) -> Tensor:
        """Box deltas (dx, dy, dw, dh) of each anchor: (N, C, H, W) -> (N, A * 4, H, W)."""
        return self.bbox_pred(self.bbox_subnet(x))

    def scores_s1(self, x: Tensor) -> Tensor:
        """First-step logits of "face": (N, C, H, W) -> (N, A, H, W)."""
        features = (self.cls_subnet_s1 or self.cls_subnet)(x)
        return (self.cls_score_s1 or self.cls_score)(features)

    def deltas_s1(self, x: Tensor) -> Tensor:
        """First-step box deltas of each anchor: (N, C, H, W) -> (N, A * 4, H, W)."""
        features = (self.bbox_subnet_s1 or self.bbox_subnet)(x)
        return (self.bbox_pred_s1 or self.bbox_pred)(features)


def _check_first_step(first_step_subnet: str, first_step_convs: int) -> None:
    if first_step_subnet not in FIRST_STEP_SUBNETS:
        raise ValueError(
            f"MODEL.SRN.FIRST_STEP_SUBNET is {first_step_subnet!r}; valid are "
            f"{list(FIRST_STEP_SUBNETS)}"
        )
    if first_step_convs < 1:
        raise ValueError(f"MODEL.SRN.FIRST_STEP_CONVS is {first_step_convs}; it is at least 1")
