"""Losses of quality of training images: blur, fewer pixels, JPEG, and no colour.

All random numbers come from ``np.random``, as in detectron2.
"""

import cv2
import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import NoOpTransform, Transform

BLUR_SIGMAS = (0.5, 2.5)
"""Standard deviation of the Gaussian blur, in pixels."""
REDUCTIONS = (1.5, 3.0)
"""Factor by which the image is reduced before it is enlarged again."""
JPEG_QUALITIES = (20, 70)
"""OpenCV's quality of the JPEG file."""


class RandomDegradation(T.Augmentation):
    """With some probability each: a loss of sharpness (blur, fewer pixels or JPEG), and grey."""

    def __init__(self, prob: float):
        """
        Args:
            prob: probability of a loss of sharpness; grey has half of it.

        Raises:
            ValueError: it is not in [0, 1].
        """
        super().__init__()
        if not 0.0 <= prob <= 1.0:
            raise ValueError(f"INPUT.FACE_DEGRADATION_PROB is {prob}, not a probability")
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        degrees = {
            # _rand_range returns arrays of no dimension, which OpenCV refuses.
            "blur": float(self._rand_range(*BLUR_SIGMAS)),
            "reduce": float(self._rand_range(*REDUCTIONS)),
            "jpeg": float(self._rand_range(*JPEG_QUALITIES)),
        }
        kind = list(degrees)[int(self._rand_range(0, len(degrees)))]
        is_degraded = self._rand_range() < self.prob
        is_grey = self._rand_range() < self.prob / 2
        if not (is_degraded or is_grey):
            return NoOpTransform()
        return DegradationTransform(kind if is_degraded else "none", degrees[kind], is_grey)


class DegradationTransform(Transform):
    """A loss of quality of a uint8 RGB image. Coordinates stay.

    Args:
        kind: "blur" with a standard deviation ``degree`` in pixels; "reduce" by a factor
            ``degree``; "jpeg" of the quality ``degree``; "none".
        is_grey: whether the colours go, too.
    """

    def __init__(self, kind: str, degree: float, is_grey: bool = False):
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        if self.is_grey:
            img = cv2.cvtColor(cv2.cvtColor(img, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if self.kind == "blur":
            return cv2.GaussianBlur(img, (0, 0), self.degree)
        if self.kind == "reduce":
            h, w = img.shape[:2]
            smaller = max(1, round(w / self.degree)), max(1, round(h / self.degree))
            reduced = cv2.resize(img, smaller, interpolation=cv2.INTER_AREA)
            return cv2.resize(reduced, (w, h), interpolation=cv2.INTER_LINEAR)
        if self.kind == "jpeg":
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(self.degree)]
            _, encoded = cv2.imencode(".jpg", img[:, :, ::-1], quality)
            return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[:, :, ::-1]
        return img

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return segmentation
