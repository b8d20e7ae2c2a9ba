"""HLG and PQ as the brightness and colours of BT.709, for detectors that learned photographs.

The curves are those of ITU-R BT.2100, table 4 (PQ) and 5 (HLG); diffuse white, of 203 cd/m2 or 75 %
of the HLG signal (BT.2408), becomes white, and brighter light is clipped.
"""

import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorTrc

WHITE = 203.0
"""Luminance of diffuse white, in cd/m2."""

DISPLAY_GAMMA = 2.4
HLG_SYSTEM_GAMMA = 1.2
HLG_WHITE = 0.75
# Linear light of BT.2020 in the primaries of BT.709 (BT.2087).
BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)


def pq_light(signal: np.ndarray) -> np.ndarray:
    """Displayed light of a PQ signal between 0 and 1, diffuse white is 1."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = signal ** (1 / m2)
    return 10000 / WHITE * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def hlg_light(signal: np.ndarray) -> np.ndarray:
    """Displayed light of an HLG signal between 0 and 1, diffuse white is 1."""
    return (_hlg_scene(signal) / _hlg_scene(np.array(HLG_WHITE))) ** HLG_SYSTEM_GAMMA


def _hlg_scene(signal: np.ndarray) -> np.ndarray:
    """Linear light of the scene."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


# Squares of the signals for BT.709, of all values of 8 bits. The primaries are converted in these
# squares: near enough to linear light, and square roots are fast.
_SIGNALS = np.arange(256) / 255
_SQUARES = {
    int(transfer): (light(_SIGNALS) ** (2 / DISPLAY_GAMMA)).astype(np.float32)
    for transfer, light in ((ColorTrc.ARIB_STD_B67, hlg_light), (ColorTrc.SMPTE2084, pq_light))
}


def is_hdr(transfer: int) -> bool:
    """Check whether a transfer characteristic is HLG or PQ."""
    return transfer in _SQUARES


def to_sdr(rgb: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """An image as on a screen of BT.709.

    Args:
        rgb: uint8 (H, W, 3), HLG or PQ.
        transfer, primaries: FFmpeg's numbers of the transfer characteristic and the primaries.
    """
    squares = cv2.LUT(rgb, _SQUARES[transfer])
    if primaries == ColorPrimaries.BT2020:
        squares = cv2.transform(squares, BT2020_TO_BT709)
    np.maximum(squares, 0, out=squares)
    return cv2.convertScaleAbs(cv2.sqrt(squares), alpha=255)
