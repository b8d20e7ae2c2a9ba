"""Scaling of pixels of more than 8 bits, or without a defined range, to 8 bits."""

from typing import NamedTuple

import numpy as np

MIN_BITS = 8
OUTLIERS = 1e-4
"""Share of the pixels that may lie outside the range at either end, such as hot pixels."""
MIN_USED = 0.5
"""Share of a standard range that the data must use for it to be taken."""
MAX_SAMPLES = 4_000_000
"""Number of pixels from which the range is taken; of larger images every n-th."""


class PixelRange(NamedTuple):
    """Values that become 0 and 255."""

    low: float
    high: float

    def scale(self, pixels: np.ndarray) -> np.ndarray:
        """Map pixels of any shape and number type to uint8, rounded; NaN becomes 0."""
        if self.high <= self.low:
            return np.zeros(pixels.shape, dtype=np.uint8)
        values = pixels.astype(np.float32) if pixels.itemsize <= 4 else pixels.astype(np.float64)
        values -= self.low
        values *= 255 / (self.high - self.low)
        values = np.nan_to_num(values, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
        return np.clip(values + 0.5, 0, 255).astype(np.uint8)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


def find_range(pixels: np.ndarray) -> PixelRange:
    """The range of the values in an image.

    It is that of a number of bits (0 to 4095, ...) or, of floats, 0 to 1 or 0 to 255, if the data
    use at least half of it, so that brightness is kept; else from the lowest to the highest value.

    Args:
        pixels: integers or floats of any shape.
    """
    low, high = _limits(pixels)
    for end in _standard_ends(pixels.dtype, high):
        if low >= 0 and high <= end and high - low >= MIN_USED * end:
            return PixelRange(0.0, end)
    return PixelRange(low, high)


def _standard_ends(dtype: np.dtype, high: float) -> list[float]:
    """Upper ends of the ranges that data of this type may be meant in, the lowest first."""
    if dtype.kind == "f":
        return [1.0, 255.0, 4095.0, 65535.0]
    bits = max(int(max(high, 0)).bit_length(), MIN_BITS)
    return [float(2**bits - 1)]


def _limits(pixels: np.ndarray) -> tuple[float, float]:
    """Lowest and highest finite value, without outliers."""
    values = pixels.reshape(-1)
    values = values[:: max(values.size // MAX_SAMPLES, 1)]
    if pixels.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if values.size == 0:
        return 0.0, 0.0
    skipped = int(OUTLIERS * values.size)
    if skipped == 0:
        return float(values.min()), float(values.max())
    parted = np.partition(values, (skipped, values.size - 1 - skipped))
    return float(parted[skipped]), float(parted[-1 - skipped])
