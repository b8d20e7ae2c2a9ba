"""Random rotation and perspective of square training crops.

Boxes are XYXY in absolute pixels. All random numbers come from ``np.random``, as in detectron2.
"""

import cv2
import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import NoOpTransform, Transform

OUTLINE_POINTS = 48
"""Number of points of an ellipse that stand for it under a warp."""


class RandomWarp(T.Augmentation):
    """Rotate the image around its centre and move its corners at random.

    The size of the image stays; what the warp uncovers is zero, as in the paper's expansion.
    """

    def __init__(self, max_degrees: float, max_shift: float, prob: float):
        """
        Args:
            max_degrees: the angle is uniform in [-max_degrees, max_degrees].
            max_shift: each corner moves by up to this share of the sides, in x and in y.
            prob: probability of a warp, in [0, 1].

        Raises:
            ValueError: a value is out of its range; the message names its key.
        """
        super().__init__()
        if not 0.0 <= max_degrees <= 180.0:
            raise ValueError(f"INPUT.FACE_WARP_DEGREES is {max_degrees}; it must be 0 to 180")
        if not 0.0 <= max_shift <= 0.25:
            raise ValueError(f"INPUT.FACE_WARP_PERSPECTIVE is {max_shift}; it must be 0 to 0.25")
        if not 0.0 <= prob <= 1.0:
            raise ValueError(f"INPUT.FACE_WARP_PROB is {prob}, not a probability")
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> Transform:
        if self._rand_range() >= self.prob:
            return NoOpTransform()
        h, w = image.shape[:2]
        angle = np.radians(self._rand_range(-self.max_degrees, self.max_degrees))
        corners = np.array([[0, 0], [w, 0], [w, h], [0, h]], dtype=np.float64)
        shifts = self._rand_range(-self.max_shift, self.max_shift, (4, 2)) * (w, h)
        centre = np.array([w, h]) / 2
        cos, sin = np.cos(angle), np.sin(angle)
        turned = (corners - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre + shifts
        matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), turned.astype(np.float32))
        return WarpTransform(matrix, h, w)


class WarpTransform(Transform):
    """A projective map of an image onto one of the same size, and of its faces' boxes.

    A face fills the ellipse in its box rather than the box: the new box is that of the mapped
    ellipse. The corners of a box turned by 45 degrees would give one 1.4 times as wide.
    """

    def __init__(self, matrix: np.ndarray, h: int, w: int):
        """
        Args:
            matrix: (3, 3), of (x, y, 1) in absolute pixels.
            h, w: size of the image in pixels.
        """
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        # Coordinates here are of pixels' corners, OpenCV's of their centres.
        to_corners = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        matrix = np.linalg.inv(to_corners) @ self.matrix @ to_corners
        return cv2.warpPerspective(img, matrix, (self.w, self.h), flags=cv2.INTER_LINEAR)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        points = np.concatenate([coords, np.ones((len(coords), 1))], axis=1) @ self.matrix.T
        return points[:, :2] / points[:, 2:]

    def apply_box(self, box: np.ndarray) -> np.ndarray:
        """(M, 4) -> (M, 4), the bounds of the mapped ellipses."""
        boxes = np.asarray(box, dtype=np.float64).reshape(-1, 4)
        angles = np.linspace(0, 2 * np.pi, OUTLINE_POINTS, endpoint=False)
        circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)  # (points, 2)
        centres, radii = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        outlines = centres[:, None] + circle * radii[:, None]  # (M, points, 2)
        mapped = self.apply_coords(outlines.reshape(-1, 2)).reshape(outlines.shape)
        return np.concatenate([mapped.min(axis=1), mapped.max(axis=1)], axis=1)
