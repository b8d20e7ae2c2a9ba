"""The faces in a picture, and the picture itself for browsers that cannot show its format."""

from io import BytesIO

from PIL import Image

from srn_d2.data.image_errors import TooManyPixelsError
from srn_d2.data.image_frames import ImageFrames
from srn_d2.data.image_io import megapixels
from srn_d2.inference.faces import Faces
from srn_d2.inference.frame_faces import FrameFaces
from srn_d2.inference.image_detector import ImageDetector

NAME = "the picture"
MAX_FRAMES_FACTOR = 4
"""Pixels of all frames of a picture, in multiples of the limit of one."""
_JPEG_QUALITY = 92
_MAX_JPEG_SIDE = 65500


def find_faces(detector: ImageDetector, encoded: bytes, threshold: float) -> dict:
    """The faces in all frames of a picture.

    Args:
        detector: its ``max_pixels`` is the limit.
        encoded: the picture's file.
        threshold: lowest score.

    Returns:
        see ``FrameFaces.to_dict``.

    Raises:
        InvalidImageError: it cannot be read, or has too many pixels, of one or all frames.
    """
    with ImageFrames(encoded, NAME, detector.max_pixels) as frames:
        height, width = frames.size
        limit = MAX_FRAMES_FACTOR * detector.max_pixels
        if frames.num_frames > 1 and frames.num_frames * height * width > limit:
            raise TooManyPixelsError(
                f"{NAME} has {frames.num_frames} frames of {width} x {height} pixels, more than "
                f"the limit of {megapixels(limit)} in all"
            )
        found = FrameFaces(frames)
        for frame in frames:
            faces = detector(frame.rgb)
            kept = faces.scores >= threshold
            faces = Faces(faces.boxes[kept], faces.scores[kept], faces.image_size)
            found.add(frame, faces)
    return found.to_dict()


def show(encoded: bytes, max_pixels: int) -> tuple[bytes, str]:
    """The first frame of a picture as the detector sees it, in a format that browsers show.

    Returns:
        JPEG or, beyond its limit, PNG, and its media type.

    Raises:
        InvalidImageError: as ``find_faces``.
    """
    with ImageFrames(encoded, NAME, max_pixels) as frames:
        image = Image.fromarray(next(iter(frames)).rgb)
    file_format = "JPEG" if max(image.size) <= _MAX_JPEG_SIDE else "PNG"
    buffer = BytesIO()
    image.save(buffer, file_format, quality=_JPEG_QUALITY)
    return buffer.getvalue(), f"image/{file_format.lower()}"
