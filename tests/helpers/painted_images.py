"""Images with one white rectangle, by which the tests follow boxes through augmentations."""

import numpy as np
from hypothesis import strategies as st


def paint(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """A black image with one white rectangle, XYXY."""
    image = np.zeros((height, width, 3), np.uint8)
    x0, y0, x1, y1 = box
    image[y0:y1, x0:x1] = 255
    return image


def painted_box(image: np.ndarray) -> np.ndarray:
    """The rectangle of the pixels that are more white than black, XYXY."""
    ys, xs = np.nonzero(image[:, :, 0] > 127)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])


def noise(height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@st.composite
def painted_images(draw) -> tuple[np.ndarray, np.ndarray]:
    height, width = draw(st.integers(40, 120)), draw(st.integers(40, 120))
    x0, y0 = draw(st.integers(0, width - 16)), draw(st.integers(0, height - 16))
    x1, y1 = draw(st.integers(x0 + 8, width)), draw(st.integers(y0 + 8, height))
    return paint(height, width, (x0, y0, x1, y1)), np.array([[x0, y0, x1, y1]], dtype=float)
