"""Pixels of decoded frames: planes as arrays, conversions, hidden and drawn faces.

Faces are hidden in the planes that the decoder gave, at their bit depth and in their colour space,
so that nothing else of a frame changes.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np
from av.codec.codec import find_best_pix_fmt_of_list
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from srn_d2.inference.drawing import draw_scored_boxes
from srn_d2.inference.faces import Faces

from ..anonymize import Method, hide
from .hdr import is_hdr, to_sdr
from .orientation import Orientation

# Lines from which on a video without a colour matrix is taken for BT.709, as players do.
MIN_HD_HEIGHT = 720
UNTAGGED = 2
# Formats of the planes that faces are hidden in, for frames that have no such planes.
PLANAR_FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
PLANAR_RGB = ("gbrp", "gbrp10le", "gbrp12le", "gbrp16le")
MAX_PIXEL_ASPECT = 16


def is_planar(video_format: av.VideoFormat) -> bool:
    """Check that each component has a plane of its own of 8 or 16-bit integers, none alpha."""
    components = video_format.components
    return (
        len({component.plane for component in components}) == len(components)
        and not any(component.is_alpha for component in components)
        and not video_format.has_palette
        and not video_format.is_bit_stream
        and video_format.is_big_endian == (sys.byteorder == "big" and bits(video_format) > 8)
        and video_format.padded_bits_per_pixel >= 8
        and not video_format.name.startswith("grayf")
        and bits(video_format) <= 16
    )


def planar_format(video_format: av.VideoFormat, square_chroma: bool = False) -> str:
    """The planar format next to another; RGB stays RGB.

    Args:
        video_format: that of a decoder.
        square_chroma: chroma must have the same resolution in both directions.
    """
    formats = [x for x in PLANAR_FORMATS if not square_chroma or "422" not in x]
    if video_format.is_rgb or video_format.has_palette:
        formats = list(PLANAR_RGB)
    return find_best_pix_fmt_of_list(formats, video_format)[0].name


def has_square_chroma(video_format: av.VideoFormat) -> bool:
    """Check that chroma has the same resolution in both directions."""
    return video_format.chroma_width(16) == video_format.chroma_height(16)


def bits(video_format: av.VideoFormat) -> int:
    """Bits of a component."""
    return max(component.bits for component in video_format.components)


def plane_arrays(picture: av.VideoFrame) -> Iterator[np.ndarray]:
    """The planes (h, w) of a frame of a planar format, uint8 or uint16, writable."""
    dtype = np.uint8 if bits(picture.format) <= 8 else np.uint16
    for component in picture.format.components:
        plane = picture.planes[component.plane]
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        yield rows.view(dtype)[: component.height, : component.width]


def new_like(picture: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """An empty frame with another's format, colour, time and duration, without its side data.

    Of the old formats yuvj..., full range is kept and the name is not.
    """
    name = picture.format.name
    new = av.VideoFrame(width, height, name.replace("yuvj", "yuv"))
    new.colorspace, new.color_range = picture.colorspace, picture.color_range
    if name.startswith("yuvj"):
        new.color_range = ColorRange.JPEG
    new.color_trc, new.color_primaries = picture.color_trc, picture.color_primaries
    new.pts, new.time_base, new.duration = picture.pts, picture.time_base, picture.duration
    return new


def oriented_copy(picture: av.VideoFrame, orientation: Orientation) -> av.VideoFrame:
    """A frame of a planar format as it is shown. The decoder's own memory stays as it is."""
    width, height = picture.width, picture.height
    size = (height, width) if orientation.transpose else (width, height)
    new = new_like(picture, *size)
    for source, target in zip(plane_arrays(picture), plane_arrays(new), strict=True):
        target[:] = orientation.apply(source)
    return new


def display_size(width: int, height: int, pixel_aspect: Fraction) -> tuple[int, int]:
    """Width and height in square pixels, no side smaller than before."""
    if pixel_aspect >= 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


class Converter:
    """Converts frames to RGB; one for each stream, as the tables are built once."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def to_rgb(
        self, picture: av.VideoFrame, width: int, height: int, for_detector: bool = False
    ) -> np.ndarray:
        """uint8 (height, width, 3).

        Args:
            picture: a frame.
            width, height: size of the result.
            for_detector: map HLG and PQ to the brightness and the colours of BT.709.
        """
        reformatted = self._reformatter.reformat(
            picture,
            width,
            height,
            "rgb24",
            src_colorspace=_colorspace(picture),
            dst_color_range=ColorRange.JPEG,
        )
        rgb = np.ascontiguousarray(reformatted.to_ndarray())
        if for_detector and is_hdr(picture.color_trc):
            return to_sdr(rgb, picture.color_trc, picture.color_primaries)
        return rgb

    def from_rgb(self, image: np.ndarray, like: av.VideoFrame) -> av.VideoFrame:
        """A frame of another's format and colour space."""
        return self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image)),
            image.shape[1],
            image.shape[0],
            like.format.name,
            dst_colorspace=_colorspace(like),
            dst_color_range=like.color_range or ColorRange.MPEG,
        )


def default_matrix(height: int) -> int:
    """The colour matrix that players assume for a video without one."""
    return Colorspace.ITU709 if height >= MIN_HD_HEIGHT else Colorspace.ITU601


def _colorspace(picture: av.VideoFrame) -> int:
    """The colour matrix, for untagged frames as players take it."""
    is_tagged = picture.colorspace != UNTAGGED
    return picture.colorspace if is_tagged else default_matrix(picture.height)


def hide_faces(picture: av.VideoFrame, boxes: np.ndarray, method: Method, margin: float) -> None:
    """Hide faces in all planes, in place.

    Args:
        picture: of a planar format.
        boxes: (n, 4), XYXY, in pixels.
        method: "blur" or "pixelate".
        margin: hidden margin around a box, as a fraction of its sides.
    """
    for plane in plane_arrays(picture):
        height, width = plane.shape
        scale = np.array([width / picture.width, height / picture.height] * 2)
        hide(plane, boxes * scale, method, margin)


def draw_faces(picture: av.VideoFrame, faces: Faces, converter: Converter) -> None:
    """Draw boxes and scores on a frame of a planar format, in place; other pixels are kept."""
    if not len(faces):
        return
    rgb = converter.to_rgb(picture, picture.width, picture.height)
    drawn = draw_scored_boxes(rgb, faces.boxes, faces.scores)
    is_drawn = cv2.absdiff(drawn, rgb).max(axis=2)
    is_drawn[is_drawn > 0] = 255
    source = converter.from_rgb(drawn, picture)
    for old, new in zip(plane_arrays(picture), plane_arrays(source), strict=True):
        mask = cv2.resize(is_drawn, old.shape[::-1], interpolation=cv2.INTER_AREA) > 0
        old[mask] = new[mask]


def fit(picture: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """A frame at another size: scaled at its aspect, centred, between black bars."""
    factor = min(width / picture.width, height / picture.height)
    inner = max(round(picture.width * factor), 1), max(round(picture.height * factor), 1)
    scaled = picture.reformat(*inner)
    canvas = new_like(picture, width, height)
    is_full = picture.color_range == ColorRange.JPEG
    x, y = (width - inner[0]) // 4 * 2, (height - inner[1]) // 4 * 2
    depth = bits(picture.format)
    components = picture.format.components
    planes = zip(components, plane_arrays(scaled), plane_arrays(canvas), strict=True)
    for component, source, target in planes:
        is_chroma = component.is_chroma and not picture.format.is_rgb
        black = 0 if is_full or picture.format.is_rgb else 16 << (depth - 8)
        target[:] = 1 << (depth - 1) if is_chroma else black
        left, top = x * target.shape[1] // width, y * target.shape[0] // height
        rows = min(source.shape[0], target.shape[0] - top)
        columns = min(source.shape[1], target.shape[1] - left)
        target[top : top + rows, left : left + columns] = source[:rows, :columns]
    return canvas


def padded_size(width: int, height: int, divisors: tuple[int, int]) -> tuple[int, int]:
    """The next width and height that are multiples of two numbers."""
    return width + -width % divisors[0], height + -height % divisors[1]


def pad(picture: av.VideoFrame, divisors: tuple[int, int]) -> av.VideoFrame:
    """A frame whose sides are multiples: the last column or row is repeated where they are not."""
    width, height = padded_size(picture.width, picture.height, divisors)
    if (width, height) == (picture.width, picture.height):
        return picture
    padded = new_like(picture, width, height)
    for source, target in zip(plane_arrays(picture), plane_arrays(padded), strict=True):
        rows, columns = source.shape
        missing = ((0, target.shape[0] - rows), (0, target.shape[1] - columns))
        target[:] = np.pad(source, missing, mode="edge")
    return padded
