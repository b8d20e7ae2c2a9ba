"""Random square patches of training images.

Boxes are XYXY in absolute pixels. All random numbers come from ``np.random``, as in detectron2.
"""

# ruff: noqa: NPY002 -- detectron2's augmentations draw from the global np.random.

import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import Transform


class ExpandedSquarePatch(T.Augmentation):
    """A random square of the image on a random zero canvas: the paper's expansion and patches.

    The image lies at a random spot of a zero canvas ``expand_range`` times its size. Of two
    squares within the canvas, one with the side of the canvas' shorter side, one of
    ``patch_scales`` times that, one is chosen; it lies at a random spot of the canvas. Only the
    square is ever made, never the canvas.
    """

    def __init__(
        self,
        expand_range: tuple[float, float],
        patch_scales: tuple[float, float],
        full_patch_prob: float,
    ):
        """
        Args:
            expand_range: least and largest factor of the canvas, each at least 1.
            patch_scales: least and largest side of the smaller square, as shares in (0, 1].
            full_patch_prob: probability of the larger square.

        Raises:
            ValueError: a value is out of its range.
        """
        super().__init__()
        if not 1.0 <= expand_range[0] <= expand_range[1]:
            raise ValueError(f"FACE_EXPAND_RANGE {expand_range} is not 1 <= low <= high")
        if not 0.0 < patch_scales[0] <= patch_scales[1] <= 1.0:
            raise ValueError(f"FACE_PATCH_SCALES {patch_scales} is not 0 < low <= high <= 1")
        if not 0.0 <= full_patch_prob <= 1.0:
            raise ValueError(f"FACE_FULL_PATCH_PROB {full_patch_prob} is not a probability")
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        h, w = image.shape[:2]
        factor = self._rand_range(*self.expand_range)
        canvas_h, canvas_w = round(h * factor), round(w * factor)
        image_y, image_x = _random_offset(canvas_h - h), _random_offset(canvas_w - w)

        side = min(canvas_h, canvas_w)
        if self._rand_range() >= self.full_patch_prob:
            side = max(1, round(side * self._rand_range(*self.patch_scales)))
        patch_y, patch_x = _random_offset(canvas_h - side), _random_offset(canvas_w - side)
        return PaddedCropTransform(patch_x - image_x, patch_y - image_y, side, side)


def _random_offset(slack: int) -> int:
    """A whole number of pixels in 0..slack."""
    return int(np.random.randint(slack + 1))


class AnchorSampledPatch(T.Augmentation):
    """A square around a random face, of a side that gives the face a random size.

    Of a WIDER FACE image cut at random most patches hold no face, or faces of a few pixels. Here
    each patch holds a face, and the sizes are spread evenly over the anchors' on a logarithmic
    scale: a network learns from fewer iterations.

    The size (square root of the area) that the face is to have after the patch's resize to
    ``crop_size`` is log-uniform in ``face_sizes``. It may miss it: no patch enlarges the image more
    than ``max_enlargement`` times, and none is larger than the image's longer side. The square
    lies at a random spot where it holds the whole face, within the image where that is possible.
    An image without faces gets ``otherwise``, and so does each image with probability
    ``1 - prob``.

    Source: the data-anchor sampling of PyramidBox, Tang et al., ECCV 2018, section 3.3.
    """

    def __init__(
        self,
        crop_size: int,
        face_sizes: tuple[float, float],
        max_enlargement: float,
        prob: float,
        otherwise: T.Augmentation,
    ):
        """
        Args:
            crop_size: side in pixels to which the patch is resized afterwards.
            face_sizes: least and largest size of the chosen face then, in pixels.
            max_enlargement: above 0.
            prob: in [0, 1].
            otherwise: augmentation of all other images.

        Raises:
            ValueError: a value is out of its range; the message names its key.
        """
        super().__init__()
        if not 0.0 < face_sizes[0] <= face_sizes[1] <= crop_size:
            raise ValueError(
                f"FACE_SAMPLED_SIZES {tuple(face_sizes)} is not 0 < low <= high <= the crop's "
                f"{crop_size}"
            )
        if not max_enlargement > 0.0:
            raise ValueError(f"FACE_MAX_ENLARGEMENT {max_enlargement} is not above 0")
        if not 0.0 <= prob <= 1.0:
            raise ValueError(f"FACE_ANCHOR_SAMPLING_PROB {prob} is not a probability")
        self._init(locals())

    def get_transform(self, image: np.ndarray, boxes: np.ndarray) -> Transform:
        h, w = image.shape[:2]
        faces = np.clip(boxes, 0, (w, h, w, h))  # (M, 4), XYXY
        faces = faces[np.all(faces[:, 2:] > faces[:, :2], axis=1)]
        if len(faces) == 0 or self._rand_range() >= self.prob:
            return self.otherwise.get_transform(image)
        face = faces[np.random.randint(len(faces))]
        (x0, y0), (x1, y1) = np.floor(face[:2]).astype(int), np.ceil(face[2:]).astype(int)

        size = np.exp(self._rand_range(*np.log(self.face_sizes)))
        side = self.crop_size * np.sqrt((x1 - x0) * (y1 - y0)) / size
        side = max(side, self.crop_size / self.max_enlargement)
        side = min(side, max(h, w))
        side = int(np.ceil(max(side, x1 - x0, y1 - y0)))
        return PaddedCropTransform(
            _offset_around(x0, x1, w, side), _offset_around(y0, y1, h, side), side, side
        )


def _offset_around(start: int, end: int, length: int, side: int) -> int:
    """Random start of ``side`` pixels that contain start..end, within 0..length if they fit.

    Args:
        start, end: within 0..length, at most ``side`` apart.
    """
    low = max(end - side, min(0, length - side))
    high = min(start, max(0, length - side))
    return int(np.random.randint(low, high + 1))


class PaddedCropTransform(Transform):
    """Crop a rectangle that may reach beyond the image; what lies outside it is zero."""

    def __init__(self, x0: int, y0: int, w: int, h: int):
        """
        Args:
            x0, y0: left upper corner of the rectangle in the image, possibly negative (pixels).
            w, h: size of the rectangle (pixels).
        """
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        img_h, img_w = img.shape[:2]
        left, right = np.clip((self.x0, self.x0 + self.w), 0, img_w)
        top, bottom = np.clip((self.y0, self.y0 + self.h), 0, img_h)
        inside = img[top:bottom, left:right]
        if inside.shape[:2] == (self.h, self.w):
            return inside
        patch = np.zeros((self.h, self.w, *img.shape[2:]), img.dtype)
        if inside.size:
            y, x = top - self.y0, left - self.x0
            patch[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return patch

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        coords[:, 0] -= self.x0
        coords[:, 1] -= self.y0
        return coords
