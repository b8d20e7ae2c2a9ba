"""Errors of images that cannot be used."""


class InvalidImageError(ValueError):
    """An image that cannot be used; ``reason`` says why in a few words, the message in full."""

    reason = "invalid image"


class CorruptImageError(InvalidImageError):
    """An image file that is there but cannot be decoded. The message names the file."""

    reason = "cannot be decoded"


class NotAnImageError(CorruptImageError):
    """A file of no known image format."""

    reason = "not an image"


class UnreadFormatError(NotAnImageError):
    """An image file of a format that is known, but not read."""

    reason = "format not read"


class TruncatedImageError(CorruptImageError):
    """An image file that ends early or is damaged."""

    reason = "truncated or damaged"


class TooManyPixelsError(CorruptImageError):
    """An image with more pixels than allowed, as a decompression bomb has; it is not decoded."""

    reason = "too many pixels"


class EmptyImageError(InvalidImageError):
    """An image without a pixel."""

    reason = "no pixels"


class ImageTypeError(InvalidImageError):
    """An array or a tensor of a wrong dtype or shape."""

    reason = "wrong dtype or shape"
