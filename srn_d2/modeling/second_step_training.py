"""How training prepares the second step from the first: from when on, and with which labels."""

from collections.abc import Sequence
from dataclasses import dataclass

from detectron2.config import CfgNode
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor

from .target_assignment import FACE, StepTargets

LABEL_SOURCES = ("refined", "regular")


@dataclass(frozen=True)
class SecondStepTraining:
    """Options of training's second step; the defaults are the paper's.

    "refined" anchors are those that STR has moved, "regular" ones those of the anchor generator.

    Attributes:
        stc_start_iter: iteration from which STC filters anchors. Before it all anchors take part.
        str_start_iter: iteration from which STR moves anchors.
        labels: anchors whose IoU decides which anchors of STR levels are faces.
        normalizer: anchors whose number of faces the second step's losses are divided by.

    Raises:
        ValueError: an option has a wrong value; the message names its key.
    """

    stc_start_iter: int = 0
    str_start_iter: int = 0
    labels: str = "refined"
    normalizer: str = "refined"

    def __post_init__(self) -> None:
        for key, value in (
            ("REFINED_LABELS", self.labels),
            ("SECOND_STEP_NORMALIZER", self.normalizer),
        ):
            if value not in LABEL_SOURCES:
                raise ValueError(f"MODEL.SRN.{key} is {value!r}; valid are {list(LABEL_SOURCES)}")

    @classmethod
    def from_config(cls, cfg: CfgNode) -> "SecondStepTraining":
        srn = cfg.MODEL.SRN
        return cls(
            srn.STC_START_ITER, srn.STR_START_ITER, srn.REFINED_LABELS, srn.SECOND_STEP_NORMALIZER
        )

    def stc_masks(self, masks: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The masks of STC, or None for each level before ``stc_start_iter``."""
        return list(masks) if _iteration() >= self.stc_start_iter else [None] * len(masks)

    def moving_deltas(self, deltas_s1: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The first step's deltas, or None for each level before ``str_start_iter``."""
        if _iteration() >= self.str_start_iter:
            return list(deltas_s1)
        return [None] * len(deltas_s1)

    def num_positives(self, phi: StepTargets, regular_labels: Tensor, keep: Tensor) -> Tensor:
        """Number of anchors by which the second step's losses are divided: a scalar tensor.

        Args:
            phi: the second step's targets; filtered anchors are IGNORED.
            regular_labels: (N, R) labels by the IoU of the regular anchors.
            keep: (N, R) bool, False for filtered anchors.
        """
        if self.normalizer == "regular":
            return ((regular_labels == FACE) & keep).sum()
        return phi.count(FACE)


def _iteration() -> int:
    """Training's iteration; 0 outside of a trainer."""
    return get_event_storage().iter if has_event_storage() else 0
