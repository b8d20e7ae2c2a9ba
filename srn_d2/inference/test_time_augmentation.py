"""Multi-scale testing: merged detections of several views of an image.

Source: the authors' released test code. Boxes are XYXY; those of a view are in its pixels, whose
centres have whole coordinates, as there.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Instances
from torch import Tensor, nn

from .detections import Detections, concatenate
from .input_memory import automatic_max_size
from .instances import detect_unclipped, to_instances, to_tensor
from .merging import merge_by_nms, merge_by_voting
from .tiled_inference import detect_within_memory
from .views import View

ENLARGEMENT = 1.5
"""Factor from one enlarged view to the next."""

SMALL_FACE = 100
"""Enlarged views keep faces whose smaller side is below this, in pixels of the image."""

LARGE_FACE = 30
"""Reduced views keep faces whose larger side is above this, in pixels of the image."""

LONGEST_FACE_SHAPE = 1.5
"""Maximum aspect ratio of a face, longer side over shorter one: for the overlap of tiles only."""


class ScheduledView(NamedTuple):
    """Resizes and flip that make a view of an image, and the size limits of its detections.

    Attributes:
        resizes: factors of successive resizes; empty: original size.
        flip: whether the resized image is mirrored.
        larger_side_above, smaller_side_below: see ``View``.
    """

    resizes: tuple[float, ...] = ()
    flip: bool = False
    larger_side_above: float = 0.0
    smaller_side_below: float = math.inf

    @property
    def scale(self) -> float:
        return math.prod(self.resizes)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the view of an image: each resize rounds half to even."""
        for factor in self.resizes:
            height, width = round(height * factor), round(width * factor)
        return height, width

    def render(self, image: np.ndarray) -> View:
        """Make the view of an image (H, W, C), of its type: bilinear, without smoothing.

        OpenCV is given factors, as in the released code: pixel x of the view is at
        (x - (s - 1) / 2) / s of the image, also where the rounded size is not s times the old one.
        """
        pixels = image
        for factor in self.resizes:
            size = {"fx": factor, "fy": factor}
            pixels = cv2.resize(pixels, (0, 0), **size, interpolation=cv2.INTER_LINEAR)
        return View(
            cv2.flip(pixels, 1) if self.flip else pixels,
            image.shape[:2],
            scale=self.scale,
            flip=self.flip,
            larger_side_above=self.larger_side_above,
            smaller_side_below=self.smaller_side_below,
        )


def released_schedule(
    height: int, width: int, max_size: int, flip: bool = True, scales: Sequence[float] = ()
) -> list[ScheduledView]:
    """The views of an image in multi-scale testing.

    An image of fewer pixels than max_size² is viewed in its original size, mirrored, at half its
    size, and enlarged 1.5, 2.25, ... times and by the factor that gives it max_size² pixels. A
    larger one is reduced to max_size² pixels, and viewed at that size, mirrored, and at 0.75 and
    0.5 of it.

    Args:
        height, width: size of the image in pixels.
        max_size: side of a square with the pixels of the largest view.
        flip: whether there are mirrored views.
        scales: factors to use instead, each with a mirrored view, whatever ``max_size`` is.
    """
    if scales:
        views = [
            ScheduledView((scale,), mirrored) for scale in scales for mirrored in (False, True)
        ]
    elif height * width < max_size**2:
        # Same log, floor and order of divisions as the released code, so rounding is the same.
        times = math.floor(math.log(max_size**2 / width / height, ENLARGEMENT**2))
        factors = [ENLARGEMENT ** (t + 1) for t in range(times)]
        factors.append(math.sqrt(max_size**2 / height / width))
        views = [
            ScheduledView(),
            ScheduledView(flip=True),
            ScheduledView((0.5,), larger_side_above=LARGE_FACE),
            *(ScheduledView((factor,), smaller_side_below=SMALL_FACE) for factor in factors),
        ]
    else:
        ratio = math.sqrt(max_size**2 / width / height)
        views = [
            ScheduledView((ratio,)),
            ScheduledView((ratio,), flip=True),
            ScheduledView((ratio, 0.75), larger_side_above=LARGE_FACE),
            ScheduledView((ratio, 0.5), larger_side_above=LARGE_FACE),
        ]
    views = [view for view in views if flip or not view.flip]
    # Skip views with a side that rounds to 0 pixels.
    return [view for view in views if min(view.size(height, width)) > 0] or [ScheduledView()]


class SRNWithTTA(nn.Module):
    """Multi-scale testing around a one-stage detector, with the detector's input and output.

    Detectron2's own test-time augmentation is for R-CNN. This one takes SRN, RetinaNet, or any
    model whose output has ``pred_boxes``, ``scores`` and ``pred_classes``; classes are merged
    separately. SRN's boxes are not clipped to a view; other detectors clip theirs. A view that
    does not fit in memory is processed in tiles (``detect_within_memory``).

    Built from a config: ``SRNWithTTA(cfg, model)``.

    Args:
        model: list[dict] with "image" (3, H, W) -> list of {"instances": Instances}.
        max_size: see ``released_schedule``, in pixels; 0: from the free memory at the first image
            (``automatic_max_size``).
        flip, scales: see ``released_schedule``.
        voting: merge the views' boxes by voting, clipped to [0, W - 1] x [0, H - 1] of the image
            as released; otherwise by NMS, with the model's own clipping.
        keep_single: keep groups of a single box in voting.
        nms_threshold: IoU above which NMS removes the weaker box, without voting and where tiles
            overlap.
        max_detections: maximum number of detections of an image.
        max_tile_pixels: views of more pixels are processed in tiles, too: ``max_pixels`` of
            ``detect_within_memory``.

    Raises:
        ValueError: ``max_size`` is negative or a scale not positive.
    """

    @configurable
    def __init__(
        self,
        model: nn.Module,
        *,
        max_size: int = 2100,
        flip: bool = True,
        scales: Sequence[float] = (),
        voting: bool = True,
        keep_single: bool = False,
        nms_threshold: float = 0.5,
        max_detections: int = 750,
        max_tile_pixels: int | None = None,
    ):
        super().__init__()
        if max_size < 0 or any(scale <= 0 for scale in scales):
            raise ValueError(f"max_size {max_size} or scales {scales}: negative or zero")
        self.model = model
        self.max_size = max_size
        self.flip = flip
        self.scales = tuple(scales)
        self.voting = voting
        self.keep_single = keep_single
        self.nms_threshold = nms_threshold
        self.max_detections = max_detections
        self.max_tile_pixels = max_tile_pixels

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict:
        tta = cfg.TEST.SRN_TTA
        return {
            "model": model,
            "max_size": tta.MAX_SIZE,
            "flip": tta.FLIP,
            "scales": tta.SCALES,
            "voting": tta.VOTING,
            "keep_single": tta.KEEP_SINGLE,
            "nms_threshold": cfg.MODEL.SRN.NMS_THRESH_TEST,
            "max_detections": cfg.TEST.DETECTIONS_PER_IMAGE,
        }

    @torch.no_grad()
    def forward(self, batched_inputs: list[dict]) -> list[dict]:
        """Detections in the model's format; images are processed one by one, view by view.

        Raises:
            RuntimeError: in training mode: there are no losses.
        """
        if self.training:
            raise RuntimeError("SRNWithTTA is for inference only: call eval() first")
        if self.max_size == 0 and not self.scales:
            device = next(self.model.parameters()).device
            self.max_size = automatic_max_size(self._detect, device)
        outputs = []
        for x in batched_inputs:
            height, width = x["image"].shape[-2:]
            output_size = x.get("height", height), x.get("width", width)
            outputs.append({"instances": self._detect_in_views(x["image"], output_size)})
        return outputs

    def _detect_in_views(self, image: Tensor, output_size: tuple[int, int]) -> Instances:
        """Detections of an image (3, H, W), in pixels of one of ``output_size``."""
        height, width = image.shape[-2:]
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())  # (H, W, 3)
        views = released_schedule(height, width, self.max_size, self.flip, self.scales)
        found = concatenate([self._detect_in_view(view, pixels) for view in views])
        device = next(self.model.parameters(), image).device
        if not self.voting:
            merged = to_instances(self._merge_by_nms(found), (height, width), device)
            return detector_postprocess(merged, *output_size)
        options = {"keep_single": self.keep_single, "max_detections": self.max_detections}
        voted = merge_by_voting(found, (height, width), **options)
        instances = to_instances(voted, output_size, device)
        instances.pred_boxes.scale(output_size[1] / width, output_size[0] / height)
        return instances

    def _detect_in_view(self, scheduled: ScheduledView, pixels: np.ndarray) -> Detections:
        """Detections of a view within its size limits, in pixels of the image (H, W, 3)."""
        view = scheduled.render(pixels)
        largest = view.smaller_side_below * scheduled.scale * LONGEST_FACE_SHAPE
        found = detect_within_memory(
            lambda tile: self._detect(to_tensor(tile)),
            view.pixels,
            merge=self._merge_by_nms,
            max_face=None if math.isinf(largest) else largest,
            name=f"a view at scale {scheduled.scale:.3g}{', mirrored' if view.flip else ''}",
            max_pixels=self.max_tile_pixels,
        )
        return view.in_image(found)

    def _detect(self, image: Tensor) -> Detections:
        """Run the model on an image (3, h, w); boxes in its pixels."""
        return detect_unclipped(self.model, image)

    def _merge_by_nms(self, found: Detections) -> Detections:
        return merge_by_nms(found, self.nms_threshold, self.max_detections)
