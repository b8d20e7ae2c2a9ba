"""Video files for tests, whole and cut."""

from pathlib import Path

import cv2
import numpy as np


def write_container(path: Path, codec: str = "mp4v", num_frames: int = 60) -> Path:
    """Frames of 64 x 96 pixels, 25 a second, in the container that the suffix names."""
    noise = np.random.default_rng(0).integers(0, 9, (64, 96, 3), dtype=np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25.0, (96, 64))
    for index in range(num_frames):
        writer.write(noise + np.uint8(4 * index % 256))
    writer.release()
    return path


def cut(path: Path, part: float) -> Path:
    """Leave the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    return path
