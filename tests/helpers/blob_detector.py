"""A detector whose answer is exact: bright rectangles on black."""

import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from torch import nn

from srn_d2.inference.detections import Detections
from srn_d2.inference.instances import to_detections, to_tensor

EDGE = 128
"""Gray value from which a pixel is part of a rectangle."""


class BlobDetector(nn.Module):
    """Finds rectangles to the pixel; scores are their gray values over 255, classes are all 0.

    Args:
        max_pixels: larger images raise the error of a full GPU.
    """

    def __init__(self, max_pixels=float("inf")):
        super().__init__()
        self.max_pixels = max_pixels
        self.sizes = []  # (height, width) of all images that it was given

    def detect(self, image):
        gray = image[0].numpy()
        self.sizes.append(gray.shape)
        if gray.size > self.max_pixels:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        _, _, stats, _ = cv2.connectedComponentsWithStats((gray >= EDGE).astype(np.uint8))
        x, y, w, h = stats[1:, :4].T
        values = gray[y + h // 2, x + w // 2] / 255
        boxes = np.stack([x, y, x + w - 1, y + h - 1], axis=1)
        return Instances(
            gray.shape,
            pred_boxes=Boxes(torch.from_numpy(boxes).float()),
            scores=torch.from_numpy(values).float(),
            pred_classes=torch.zeros(len(values), dtype=torch.int64),
        )

    def in_pixels(self, pixels) -> Detections:
        """The same of an image (H, W, 3), in arrays."""
        return to_detections(self.detect(to_tensor(pixels)))

    def forward(self, batched_inputs):
        return [{"instances": self.detect(x["image"])} for x in batched_inputs]


def picture(size, boxes, values=None):
    """(3, H, W) uint8: rectangles [x1, y1, x2, y2], last pixels included, of gray values."""
    image = torch.zeros(3, *size, dtype=torch.uint8)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        image[:, y1 : y2 + 1, x1 : x2 + 1] = 200 if values is None else values[i]
    return image


def scattered_boxes(size, number, largest, seed=0):
    """Rectangles of up to ``largest`` pixels a side that do not touch each other."""
    rng = np.random.default_rng(seed)
    boxes = []
    while len(boxes) < number:
        w, h = rng.integers(4, largest + 1, 2)
        x, y = (int(rng.integers(0, side - s + 1)) for side, s in ((size[1], w), (size[0], h)))
        new = [x, y, x + int(w) - 1, y + int(h) - 1]
        if all(
            new[0] > b[2] + 2 or new[2] < b[0] - 2 or new[1] > b[3] + 2 or new[3] < b[1] - 2
            for b in boxes
        ):
            boxes.append(new)
    return boxes
