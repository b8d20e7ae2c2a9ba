"""TIFF files of any layout of their samples."""

import struct
import zlib

import numpy as np

MIN_IS_WHITE, MIN_IS_BLACK, RGB, SEPARATED, CIELAB = 0, 1, 2, 5, 8
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}


def encode_tiff(
    samples: np.ndarray,
    photometric: int,
    planar: bool = False,
    order: str = "<",
    compressed: bool = False,
    rows_per_strip: int = 7,
    extra: int | None = None,
    orientation: int | None = None,
    is_last: bool = False,
) -> bytes:
    """A TIFF file of one page.

    Args:
        samples: (H, W, C) of any number type, as they are stored.
        photometric: PhotometricInterpretation.
        planar: store the samples in C planes, not pixel by pixel.
        order: "<" or ">": the lowest or the highest byte first.
        compressed: by Deflate.
        rows_per_strip: number of rows in a strip.
        extra: meaning of a fourth sample (ExtraSamples).
        orientation: the tag.
        is_last: put the samples after the tags, which are there then if the file is cut.
    """
    height, width, channels = samples.shape
    stored = samples.astype(samples.dtype.newbyteorder(order))
    planes = [stored[:, :, i] for i in range(channels)] if planar else [stored]
    strips = [
        np.ascontiguousarray(plane[row : row + rows_per_strip]).tobytes()
        for plane in planes
        for row in range(0, height, rows_per_strip)
    ]
    if compressed:
        strips = [zlib.compress(strip) for strip in strips]
    body = b"".join(strips)
    num_tags = 11 + (extra is not None) + (orientation is not None)
    directory_size = 2 + 12 * num_tags + 4 + 8 * len(strips) + 4 * channels + 8
    body_start = 8 + directory_size if is_last else 8
    offsets = np.cumsum([body_start, *map(len, strips)])
    tags = {
        256: [width],
        257: [height],
        258: [8 * samples.itemsize] * channels,
        259: [8 if compressed else 1],
        262: [photometric],
        273: offsets[:-1].tolist(),
        277: [channels],
        278: [rows_per_strip],
        279: [len(strip) for strip in strips],
        284: [2 if planar else 1],
        339: [_SAMPLE_FORMATS[samples.dtype.kind]] * channels,
    }
    if extra is not None:
        tags[338] = [extra]
    if orientation is not None:
        tags[274] = [orientation]
    start = 8 if is_last else 8 + len(body) + len(body) % 2
    rest_start = start + 2 + 12 * len(tags) + 4
    directory, rest = struct.pack(f"{order}H", len(tags)), b""
    for tag, values in sorted(tags.items()):
        is_long = tag in (273, 279)
        packed = struct.pack(f"{order}{len(values)}{'I' if is_long else 'H'}", *values)
        directory += struct.pack(f"{order}HHI", tag, 4 if is_long else 3, len(values))
        if len(packed) > 4:
            directory += struct.pack(f"{order}I", rest_start + len(rest))
            rest += packed + b"\0" * (len(packed) % 2)
        else:
            directory += packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, start)
    directory += bytes(4) + rest
    if is_last:
        return head + directory.ljust(directory_size, b"\0") + body
    return head + body + b"\0" * (len(body) % 2) + directory
