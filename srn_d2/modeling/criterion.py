"""The losses of both steps and their normalisers.

Shapes: N images · R anchors of an image. Labels: -1 ignore, 0 face, 1 background.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures.boxes import Boxes, matched_pairwise_iou
from detectron2.utils import comm
from fvcore.nn import sigmoid_focal_loss, smooth_l1_loss
from torch import Tensor, distributed
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
)

from .target_assignment import FACE, IGNORED, StepTargets

IOU_LOSSES = {
    "giou": generalized_box_iou_loss,
    "diou": distance_box_iou_loss,
    "ciou": complete_box_iou_loss,
}
BOX_LOSSES = ("smooth_l1", *IOU_LOSSES)
CLASSIFICATION_LOSSES = ("focal", "quality_focal")
"""Losses of the second step's classification: "focal" [paper]; "quality_focal", whose target for a
face's anchor is the IoU of its predicted box with the face, so that scores rank boxes by how tight
they are, too (Li et al., "Generalized Focal Loss", NeurIPS 2020, equation 3)."""


class SRNCriterion:
    """The focal loss of the classification and the box loss of the regression, in float32.

    Sums over anchors, divided by a step's number of positives: the two terms of L_STC and the
    two of L_STR in the paper's section 3.5, which prints neither a normaliser for L_STR nor the
    parameters of the focal loss (see srn_d2/config/keys.py).

    Args:
        transform: between boxes and deltas.
        focal_alpha, focal_gamma: parameters of the focal loss.
        box_loss_type: one of :data:`BOX_LOSSES`.
        smooth_l1_beta: value at which smooth L1 becomes linear, in units of the deltas.
        box_loss_weight: factor of the box losses.
        cls_loss_type: one of :data:`CLASSIFICATION_LOSSES`.
    """

    def __init__(
        self,
        transform: Box2BoxTransform,
        *,
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
        box_loss_type: str = "smooth_l1",
        smooth_l1_beta: float = 0.1,
        box_loss_weight: float = 1.0,
        cls_loss_type: str = "focal",
    ):
        if cls_loss_type not in CLASSIFICATION_LOSSES:
            raise ValueError(
                f"MODEL.SRN.CLS_LOSS_TYPE is {cls_loss_type!r}; valid are "
                f"{list(CLASSIFICATION_LOSSES)}"
            )
        if box_loss_type not in BOX_LOSSES:
            raise ValueError(
                f"MODEL.SRN.BBOX_REG_LOSS_TYPE is {box_loss_type!r}; valid are {list(BOX_LOSSES)}"
            )
        self.transform = transform
        self.focal_alpha = focal_alpha
        self.focal_gamma = focal_gamma
        self.box_loss_type = box_loss_type
        self.smooth_l1_beta = smooth_l1_beta
        self.box_loss_weight = box_loss_weight
        self.cls_loss_type = cls_loss_type

    @classmethod
    def from_config(cls, cfg: CfgNode, transform: Box2BoxTransform) -> "SRNCriterion":
        srn = cfg.MODEL.SRN
        return cls(
            transform,
            focal_alpha=srn.FOCAL_LOSS_ALPHA,
            focal_gamma=srn.FOCAL_LOSS_GAMMA,
            box_loss_type=srn.BBOX_REG_LOSS_TYPE,
            smooth_l1_beta=srn.SMOOTH_L1_BETA,
            box_loss_weight=srn.BBOX_REG_LOSS_WEIGHT,
            cls_loss_type=srn.CLS_LOSS_TYPE,
        )

    def classification_loss(
        self, logits: Tensor, targets: StepTargets, normalizer: Tensor
    ) -> Tensor:
        """Focal loss of (N, R) logits over the anchors that are not ignored."""
        labels = targets.labels
        valid = labels != IGNORED
        loss = sigmoid_focal_loss(
            logits[valid].float(),
            (labels[valid] == FACE).float(),
            alpha=self.focal_alpha,
            gamma=self.focal_gamma,
            reduction="sum",
        )
        return loss / normalizer

    def detection_loss(
        self, logits: Tensor, deltas: Tensor, targets: StepTargets, normalizer: Tensor
    ) -> Tensor:
        """Classification loss of the second step, of ``cls_loss_type``.

        Args:
            logits: (N, R).
            deltas: (N, R, 4), which no gradient reaches.
            targets, normalizer: as in :meth:`classification_loss`.
        """
        if self.cls_loss_type == "focal":
            return self.classification_loss(logits, targets, normalizer)
        valid = targets.labels != IGNORED
        is_face = targets.labels == FACE
        predicted = self.transform.apply_deltas(
            deltas[is_face].detach().float(), targets.anchors[is_face]
        )
        wanted = logits.new_zeros(logits.shape, dtype=torch.float32)
        wanted[is_face] = matched_pairwise_iou(Boxes(predicted), Boxes(targets.boxes[is_face]))
        logits, wanted = logits[valid].float(), wanted[valid]
        loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        return ((wanted - logits.sigmoid()).abs() ** self.focal_gamma * loss).sum() / normalizer

    def box_loss(self, deltas: Tensor, targets: StepTargets, normalizer: Tensor) -> Tensor:
        """Box loss of (N, R, 4) deltas over the anchors that match a face; 0 without any."""
        is_face = targets.labels == FACE
        deltas = deltas[is_face].float()  # (faces, 4)
        anchors, boxes = targets.anchors[is_face], targets.boxes[is_face]
        if self.box_loss_type == "smooth_l1":
            wanted = self.transform.get_deltas(anchors, boxes)
            loss = smooth_l1_loss(deltas, wanted, beta=self.smooth_l1_beta, reduction="sum")
        else:
            predicted = self.transform.apply_deltas(deltas, anchors)
            loss = IOU_LOSSES[self.box_loss_type](predicted, boxes, reduction="sum")
        return self.box_loss_weight * loss / normalizer


def loss_normalizers(num_faces: Sequence[Tensor]) -> list[Tensor]:
    """Normaliser of each step's losses on this worker, from its number of positives.

    The positives of all workers, at least 1, over the number of workers. As data-parallel
    training averages the workers' gradients, the result is the gradient of the whole batch.
    """
    total = torch.stack([n.float() for n in num_faces])
    world_size = comm.get_world_size()
    if world_size > 1:
        distributed.all_reduce(total)
    return list(total.clamp(min=1) / world_size)
