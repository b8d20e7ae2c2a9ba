"""Inputs and outputs of ``srn-d2 detect``."""

import numpy as np
from PIL import Image

from .video_files import write_video


def save_image(path, size=(64, 96), seed=0, **options):
    """Write noise of this height and width; the options are PIL's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_video(path, num_frames=3):
    """Write frames of 80 x 64 pixels, each of one grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [np.full((64, 80, 3), 80 * index % 256, dtype=np.uint8) for index in range(num_frames)]
    return write_video(path, frames, "mpeg4", rate=5)


def files_below(folder):
    """Names relative to the folder, sorted, without those of a run's state."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.startswith(".srn_d2_detect/"))


def check_faces(faces, height, width, threshold=0.0):
    """Check the faces of a picture or a frame: at most five, sorted, inside."""
    assert 0 < len(faces) <= 5
    scores = [face["score"] for face in faces]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= threshold
    for face in faces:
        x1, y1, x2, y2 = face["bbox"]
        assert 0 <= x1 <= x2 <= width
        assert 0 <= y1 <= y2 <= height
