"""Inference on single images, outside training and evaluation."""

import functools
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from detectron2.structures import Instances
from torch import nn

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.data.transforms import build_face_augmentation
from srn_d2.inference.test_time_augmentation import SRNWithTTA

from .detections import Detections
from .instances import detect_unclipped, to_detections, to_instances, to_tensor
from .large_faces import largest_learned_face, longest_side_found
from .merging import merge_by_nms
from .tiled_inference import detect_within_memory, is_out_of_memory, release_cached_memory
from .tiles import MAX_TILE_PIXELS, padded_pixels
from .views import View


class FacePredictor:
    """Detect the faces of one image, as evaluation does it.

    Unlike detectron2's DefaultPredictor it takes RGB, whatever INPUT.FORMAT is, resizes as the
    test loader does (INPUT.MIN_SIZE_TEST 0: original size), and refuses weights that do not fit.
    With TEST.SRN_TTA.ENABLED it runs multi-scale testing.

    Memory is bounded: an image of more than ``max_tile_pixels``, or one that runs out of GPU
    memory, is processed in overlapping tiles. Faces of the sizes that the network has learned lie
    within one tile; near a seam scores and boxes may differ a little from those of the whole
    image.

    Args:
        cfg: config of the model, with MODEL.WEIGHTS and MODEL.DEVICE.
        max_tile_pixels: maximum number of pixels of a network input, padding included.

    Raises:
        ValueError: MODEL.WEIGHTS is empty, or some of the file's keys and the model's do not
            match (IncompatibleWeightsError).
        FileNotFoundError: MODEL.WEIGHTS is not there.
    """

    def __init__(self, cfg: CfgNode, max_tile_pixels: int = MAX_TILE_PIXELS):
        if not cfg.MODEL.WEIGHTS:
            raise ValueError("No weights are given: set MODEL.WEIGHTS to a trained checkpoint")
        self.image_format = cfg.INPUT.FORMAT
        self.augmentations = T.AugmentationList(build_face_augmentation(cfg, is_train=False))
        self.single_scale_model = build_model(cfg).eval()
        SRNCheckpointer(self.single_scale_model, strict=True).load(cfg.MODEL.WEIGHTS)
        # Height and width of a batch are padded to a multiple of this.
        self.size_divisibility = max(self.single_scale_model.backbone.size_divisibility, 1)
        self.model = self.single_scale_model
        if cfg.TEST.SRN_TTA.ENABLED:
            self.model = SRNWithTTA(
                cfg, self.single_scale_model, max_tile_pixels=max_tile_pixels
            ).eval()
        self.max_tile_pixels = max_tile_pixels
        # Longer side in pixels of the largest face that fits within a tile.
        self.max_tile_face = longest_side_found(largest_learned_face(cfg))
        self._merge_tiles = functools.partial(
            merge_by_nms,
            threshold=cfg.MODEL.SRN.NMS_THRESH_TEST,
            max_detections=cfg.TEST.DETECTIONS_PER_IMAGE,
        )

    def __call__(self, image: np.ndarray) -> Instances:
        """
        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            Instances on the CPU, image size (H, W), with ``pred_boxes``, ``scores`` and
            ``pred_classes``, best first.
        """
        view = View(self.resize(image), image.shape[:2])
        [found] = self.detect([view.pixels])
        return to_instances(view.in_image(found), view.image_size)

    def resize(self, image: np.ndarray) -> np.ndarray:
        """Resize an image (H, W, 3) by INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST."""
        augmented = T.AugInput(image)
        self.augmentations(augmented)
        return augmented.image

    @torch.no_grad()
    def detect(self, images: Sequence[np.ndarray], single_scale: bool = False) -> list[Detections]:
        """Detect faces in a batch of images that are already resized.

        Args:
            images: uint8 (h, w, 3), RGB.
            single_scale: use one scale even with TEST.SRN_TTA.ENABLED.

        Returns:
            for each image boxes in its pixels, clipped to it, by descending score.
        """
        if single_scale or self.model is self.single_scale_model:
            return self._detect_once([self._in_model_order(image) for image in images])
        return self._run(self.model, [self._in_model_order(image) for image in images])

    def _detect_once(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Single-scale detections: as one batch or, if out of memory, image by image."""
        if not images:
            return []
        sides = np.array([image.shape[:2] for image in images])
        if len(images) * padded_pixels(*sides.max(axis=0)) <= self.max_tile_pixels:
            try:
                return self._run(self.single_scale_model, images)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            release_cached_memory()  # after the handler: the error holds the run's tensors
        return [self._detect_in_tiles(image).clip(image.shape[:2]) for image in images]

    def _detect_in_tiles(self, image: np.ndarray) -> Detections:
        """Detections in an image (h, w, 3), whole or in tiles."""
        return detect_within_memory(
            lambda tile: detect_unclipped(self.single_scale_model, to_tensor(tile)),
            image,
            merge=self._merge_tiles,
            max_face=self.max_tile_face,
            name="an image",
            max_pixels=self.max_tile_pixels,
        )

    def _in_model_order(self, image: np.ndarray) -> np.ndarray:
        """Convert RGB (h, w, 3) to the model's order of channels."""
        return image if self.image_format == "RGB" else image[:, :, ::-1]

    @staticmethod
    def _run(model: nn.Module, images: Sequence[np.ndarray]) -> list[Detections]:
        """Run a model on a batch of images (h, w, 3)."""
        inputs = [
            {"image": to_tensor(image), "height": image.shape[0], "width": image.shape[1]}
            for image in images
        ]
        return [to_detections(output["instances"]) for output in model(inputs)]
