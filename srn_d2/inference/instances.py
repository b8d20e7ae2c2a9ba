"""Detectron2's tensors and Instances as arrays, and back."""

import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from srn_d2.modeling.srn import SRN

from .detections import Detections


def to_tensor(image: np.ndarray) -> Tensor:
    """An image (H, W, C) as a tensor (C, H, W) of its type."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def to_detections(instances: Instances) -> Detections:
    """The fields ``pred_boxes``, ``scores`` and ``pred_classes``, of any device, as arrays."""
    return Detections(
        instances.pred_boxes.tensor.float().cpu().numpy(),
        instances.scores.float().cpu().numpy(),
        instances.pred_classes.cpu().numpy(),
    )


def to_instances(
    found: Detections, image_size: tuple[int, int], device: torch.device | str = "cpu"
) -> Instances:
    """The reverse of ``to_detections``, in an image (height, width)."""
    boxes, scores, labels = (torch.from_numpy(values).to(device) for values in found)
    return Instances(image_size, pred_boxes=Boxes(boxes), scores=scores, pred_classes=labels)


def detect_unclipped(model: nn.Module, image: Tensor) -> Detections:
    """Run a model on an image (3, H, W); boxes in its pixels.

    SRN's boxes may reach beyond the image; other models clip theirs.

    Args:
        model: list[dict] with "image" -> list of {"instances": Instances}.
    """
    if isinstance(model, SRN):
        [instances] = model.detect(model.preprocess_image([{"image": image}]))
        return to_detections(instances)
    height, width = image.shape[-2:]
    [output] = model([{"image": image, "height": height, "width": width}])
    return to_detections(output["instances"])
