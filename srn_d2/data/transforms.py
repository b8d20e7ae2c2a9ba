"""Training augmentations that carry boxes: the paper's (section 3.5) and further ones.

Boxes are XYXY in absolute pixels, coordinates inside an image of shape (H, W) lie in [0, W] and
[0, H]. No transform here clips boxes or drops any: dataset_mapper.py does that once at the end.
All random numbers come from ``np.random``, as in detectron2.
"""

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from fvcore.transforms.transform import NoOpTransform, Transform

from .degradations import RandomDegradation
from .image_resize import resize_pixels
from .patches import AnchorSampledPatch, ExpandedSquarePatch
from .warps import RandomWarp

# Ranges of SSD's photometric distortion: Liu et al., ECCV 2016, and its data layer's settings.
BRIGHTNESS_DELTA = 32.0  # added, of 255
CONTRAST_RANGE = (0.5, 1.5)  # factor
SATURATION_RANGE = (0.5, 1.5)  # factor
HUE_DELTA = 18.0  # degrees
DISTORTION_PROB = 0.5  # of each of the four, independently


def build_mosaic_augmentation(cfg: CfgNode) -> list[T.Augmentation]:
    """Return the augmentations of one of the four tiles of a mosaic: training's, at half the size.

    The sizes of INPUT.FACE_SAMPLED_SIZES are limited to half of the tile's side, so that a face has
    surroundings.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.FACE_CROP_SIZE = tile = cfg.INPUT.FACE_CROP_SIZE // 2
    cfg.INPUT.FACE_SAMPLED_SIZES = [min(size, tile / 2) for size in cfg.INPUT.FACE_SAMPLED_SIZES]
    return build_face_augmentation(cfg, is_train=True)


def build_face_augmentation(cfg: CfgNode, is_train: bool) -> list[T.Augmentation]:
    """Return the augmentations of training (the paper's) or of testing (resizing only).

    The horizontal flip follows the resize, with which it commutes: there it is a view, not a copy.
    """
    if not is_train:
        return [ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)]
    patch = ExpandedSquarePatch(
        cfg.INPUT.FACE_EXPAND_RANGE, cfg.INPUT.FACE_PATCH_SCALES, cfg.INPUT.FACE_FULL_PATCH_PROB
    )
    if cfg.INPUT.FACE_ANCHOR_SAMPLING_PROB > 0:
        patch = AnchorSampledPatch(
            cfg.INPUT.FACE_CROP_SIZE,
            cfg.INPUT.FACE_SAMPLED_SIZES,
            cfg.INPUT.FACE_MAX_ENLARGEMENT,
            cfg.INPUT.FACE_ANCHOR_SAMPLING_PROB,
            otherwise=patch,
        )
    augmentations = [patch, ResizeSquare(cfg.INPUT.FACE_CROP_SIZE), T.RandomFlip()]
    if cfg.INPUT.FACE_WARP_PROB > 0:
        augmentations.append(
            RandomWarp(
                cfg.INPUT.FACE_WARP_DEGREES,
                cfg.INPUT.FACE_WARP_PERSPECTIVE,
                cfg.INPUT.FACE_WARP_PROB,
            )
        )
    if cfg.INPUT.FACE_DEGRADATION_PROB > 0:
        augmentations.append(RandomDegradation(cfg.INPUT.FACE_DEGRADATION_PROB))
    if cfg.INPUT.FACE_PHOTOMETRIC:
        augmentations.insert(0, PhotometricDistortion())
    return augmentations


class PhotometricDistortion(T.Augmentation):
    """Random brightness, contrast, saturation and hue of a uint8 RGB image, as in SSD.

    Each of the four is applied with probability 0.5; contrast comes before saturation and hue or
    after them, with equal chances.
    """

    def get_transform(self, image: np.ndarray) -> Transform:
        def draw(low: float, high: float, neutral: float) -> float:
            return self._rand_range(low, high) if self._rand_range() < DISTORTION_PROB else neutral

        return PhotometricTransform(
            brightness=draw(-BRIGHTNESS_DELTA, BRIGHTNESS_DELTA, neutral=0.0),
            contrast=draw(*CONTRAST_RANGE, neutral=1.0),
            saturation=draw(*SATURATION_RANGE, neutral=1.0),
            hue=draw(-HUE_DELTA, HUE_DELTA, neutral=0.0),
            contrast_first=bool(self._rand_range() < 0.5),
        )


class PhotometricTransform(Transform):
    """A change of a uint8 RGB image's colours, pixel by pixel. Coordinates stay.

    It works by tables of 256 entries: one for brightness and contrast, one for each channel of the
    8-bit HSV image for hue and saturation, with saturation to 0..255 after each.
    """

    def __init__(
        self,
        brightness: float = 0.0,
        contrast: float = 1.0,
        saturation: float = 1.0,
        hue: float = 0.0,
        contrast_first: bool = True,
    ):
        """
        Args:
            brightness: added to R, G and B (of 255).
            contrast: factor of R, G and B.
            saturation: factor of the saturation in HSV.
            hue: degrees by which the hue turns.
            contrast_first: contrast before saturation and hue, else after them.
        """
        super().__init__()
        self.brightness = brightness
        self.contrast = contrast
        self.saturation = saturation
        self.hue = hue
        self.contrast_first = contrast_first

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        if img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3:
            raise ValueError(f"expected uint8 (H, W, 3), got {img.dtype} {img.shape}")
        before, after = (self.contrast, 1.0) if self.contrast_first else (1.0, self.contrast)
        img = self._change_levels(img, self.brightness, before)
        img = self._change_hue_and_saturation(img)
        return self._change_levels(img, 0.0, after)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return segmentation

    @staticmethod
    def _change_levels(img: np.ndarray, brightness: float, contrast: float) -> np.ndarray:
        if brightness == 0.0 and contrast == 1.0:
            return img
        brightened = _to_uint8(np.arange(256) + brightness)
        return cv2.LUT(img, _to_uint8(brightened * contrast))

    def _change_hue_and_saturation(self, img: np.ndarray) -> np.ndarray:
        if self.hue == 0.0 and self.saturation == 1.0:
            return img
        levels = np.arange(256)
        # The "_FULL" codes spread 360 degrees over 256 levels, so that hue wraps as uint8 does.
        turned = (levels + round(self.hue * 256 / 360)) % 256
        table = np.stack(
            [turned.astype(np.uint8), _to_uint8(levels * self.saturation), levels.astype(np.uint8)],
            axis=-1,
        )
        hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV_FULL)
        return cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2RGB_FULL)


def _to_uint8(levels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


class ResizeSquare(T.Augmentation):
    """Resize to a square, whatever the shape was."""

    def __init__(self, size: int):
        """
        Args:
            size: side of the result in pixels.
        """
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        return FastResizeTransform(*image.shape[:2], self.size, self.size)


class FastResizeTransform(T.ResizeTransform):
    """detectron2's resize through OpenCV (``resize_pixels``), several times as fast as Pillow."""

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        assert img.shape[:2] == (self.h, self.w)
        if interp is not None:  # only apply_segmentation asks for one
            return super().apply_image(img, interp)
        return resize_pixels(img, self.new_h, self.new_w)


class ResizeShortestEdge(T.ResizeShortestEdge):
    """detectron2's test-time resize that never rounds a side of a very flat image to 0 pixels."""

    def get_transform(self, image: np.ndarray) -> Transform:
        resize = super().get_transform(image)
        if isinstance(resize, NoOpTransform):  # short_edge_length 0: the original size
            return resize
        new_h, new_w = max(1, resize.new_h), max(1, resize.new_w)
        return T.ResizeTransform(resize.h, resize.w, new_h, new_w, resize.interp)
