"""What is written of a picture: its faces framed or hidden."""

from collections.abc import Callable
from functools import partial

import numpy as np

from srn_d2.inference.drawing import draw_scored_boxes
from srn_d2.inference.faces import Faces

from .anonymize import MARGIN, blur, pixelate
from .video.options import VideoOptions

Render = Callable[[np.ndarray, Faces], np.ndarray]
"""From pixels (H, W, 3), or (H, W, 4) as ``DecodedImage`` has them, and their faces to others."""


def draw_faces(image: np.ndarray, faces: Faces) -> np.ndarray:
    return draw_scored_boxes(image, faces.boxes, faces.scores)


def blur_faces(image: np.ndarray, faces: Faces, margin: float = MARGIN) -> np.ndarray:
    return blur(image, faces.boxes, margin)


def pixelate_faces(image: np.ndarray, faces: Faces, margin: float = MARGIN) -> np.ndarray:
    return pixelate(image, faces.boxes, margin)


def picture_renderer(options: VideoOptions) -> Render | None:
    """The function that draws or hides the faces of a picture as the options say; None: neither."""
    if options.render is None:
        return None
    if options.render == "draw":
        return draw_faces
    hide = blur_faces if options.render == "blur" else pixelate_faces
    return partial(hide, margin=options.margin)
