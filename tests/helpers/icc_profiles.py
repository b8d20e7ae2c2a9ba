"""ICC profiles (version 2) made by hand: a matrix of primaries, or grey, with a gamma."""

import struct

import numpy as np

# Primaries of Display P3 and of sRGB, adapted to D50: columns red, green, blue; rows X, Y, Z.
DISPLAY_P3 = np.array(
    [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
)
SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
D50 = (0.9642, 1.0, 0.8249)


def rgb_profile(primaries=DISPLAY_P3, gamma=2.2):
    """The bytes of a profile of RGB."""
    curve = _curve(gamma)
    tags = [(f"{color}XYZ", _xyz(column)) for color, column in zip("rgb", primaries.T, strict=True)]
    tags += [(f"{color}TRC", curve) for color in "rgb"]
    return _profile(b"RGB ", tags)


def grey_profile(gamma):
    """The bytes of a profile of grey."""
    return _profile(b"GRAY", [("kTRC", _curve(gamma))])


def in_srgb(colors, primaries=DISPLAY_P3, gamma=2.2):
    """The sRGB colours, 0 to 255 and clipped, of colours (..., 3) of a profile."""
    linear = (np.asarray(colors) / 255) ** gamma @ (np.linalg.inv(SRGB) @ primaries).T
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _profile(space, tags):
    description = b"made by hand\0"
    text = b"desc" + bytes(4) + struct.pack(">I", len(description)) + description + bytes(78)
    tags = [("desc", text), ("wtpt", _xyz(D50)), *tags, ("cprt", b"text" + bytes(4) + b"none\0")]
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags:
        table += name.encode() + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(
        ">I4sI4s4s4s12s4s4sIIIQI", 0, bytes(4), 0x02400000, b"mntr", space, b"XYZ ", bytes(12),
        b"acsp", bytes(4), 0, 0, 0, 0, 0,
    )  # fmt: skip
    header += b"".join(_fixed(value) for value in D50) + bytes(48)
    size = len(header) + len(table) + len(data)
    return struct.pack(">I", size) + header[4:] + table + data


def _fixed(value):
    return struct.pack(">i", round(value * 65536))


def _xyz(values):
    return b"XYZ " + bytes(4) + b"".join(_fixed(value) for value in values)


def _curve(gamma):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))
