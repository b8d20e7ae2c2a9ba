"""Encoders of videos: names, pixel formats and quality."""

from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.codec.codec import find_best_pix_fmt_of_list

from .errors import VideoError
from .planes import bits, is_planar

CODECS = ("h264", "av1", "vp9")
# Codec -> encoders, the best first.
ENCODERS = {
    "h264": ("libx264", "libopenh264"),
    "hevc": ("libx265",),
    "av1": ("libsvtav1", "libaom-av1"),
    "vp9": ("libvpx-vp9",),
    "vp8": ("libvpx",),
}
# Constant rate factors at which differences are hard to see, and the range of each codec.
DEFAULT_CRF = {"h264": 20, "hevc": 22, "av1": 30, "vp9": 30, "vp8": 10}
MAX_CRF = {"h264": 51, "hevc": 51, "av1": 63, "vp9": 63, "vp8": 63}
# Settings of speed: encoding must not be slower than the network.
SPEED = {
    "libx264": {"preset": "veryfast"},
    "libx265": {"preset": "veryfast", "x265-params": "log-level=error"},
    "libsvtav1": {"preset": "10"},
    "libaom-av1": {"cpu-used": "8", "row-mt": "1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "6", "row-mt": "1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "6", "threads": "1"},  # more threads spin
}
# Encoders that refuse sides which their chroma does not divide.
WHOLE_CHROMA = ("libx264", "libx265", "libopenh264")
# Frames per second that MPEG-1 and MPEG-2 have, and the largest rate that others take.
MPEG_RATES = tuple(
    Fraction(x) for x in ("24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60")
)
MAX_RATE = 240
# Relative difference of rates that are the same, as 29.97 and 30000/1001 are.
RATE_ERROR = Fraction(1, 5000)
# Numerators and denominators up to which MPEG-4 part 2 takes a time base; a fine one within it.
MPEG4_LIMIT, MPEG4_TIME_BASE = 65535, Fraction(1, 60000)
# Quantiser scale of encoders without a constant rate factor, 1 is the best; FFmpeg's unit of it.
QSCALE, LAMBDA_PER_QP = 3, 118
# Browsers show H.264 in 8 bits 4:2:0 only, AV1 and VP9 in 4:2:0.
BROWSER_FORMATS = {
    "h264": ("yuv420p",),
    "av1": ("yuv420p", "yuv420p10le"),
    "vp9": ("yuv420p", "yuv420p10le"),
}


@dataclass(frozen=True)
class Encoder:
    """An encoder with its settings.

    Attributes:
        name: FFmpeg's name.
        codec: name of the codec.
        pix_fmt: pixel format of its frames.
        options: options of the encoder.
        has_crf: whether quality is a constant rate factor; else it is ``QSCALE``.
        divisors: what the width and the height must be multiples of.
    """

    name: str
    codec: str
    pix_fmt: str
    options: dict[str, str] = field(default_factory=dict)
    has_crf: bool = True
    divisors: tuple[int, int] = (1, 1)


def choose_encoder(codec: str | None, picture_format: av.VideoFormat, crf: int | None) -> Encoder:
    """An encoder whose videos browsers play.

    Args:
        codec: one of ``CODECS``; None: H.264, or AV1 for more than 8 bits.
        picture_format: pixel format of the frames.
        crf: constant rate factor, the smaller the better; None: the codec's default.

    Raises:
        VideoError: this build of FFmpeg has no such encoder.
    """
    if codec is None:
        codec = "av1" if bits(picture_format) > 8 else "h264"
    name = find_encoder(codec)
    formats = [x.name for x in av.Codec(name, "w").video_formats or ()]
    allowed = [x for x in BROWSER_FORMATS[codec] if not formats or x in formats]
    pix_fmt = allowed[-1] if bits(picture_format) > 8 else allowed[0]
    return _with_quality(codec, name, pix_fmt, crf)


def copy_encoder(codec: str, picture_format: av.VideoFormat, crf: int | None) -> Encoder:
    """An encoder of a given codec, of the pixel format next to that of the frames; RGB stays RGB.

    Args:
        codec: FFmpeg's name of the codec.
        picture_format, crf: see ``choose_encoder``.

    Raises:
        VideoError: this build of FFmpeg has no such encoder, or none for planar formats.
    """
    name = find_encoder(codec)
    formats = av.Codec(name, "w").video_formats or _raw_formats(picture_format)
    usable = [x for x in formats if is_planar(x)]
    if picture_format.is_rgb:
        usable = [x for x in formats if _is_plain_rgb(x)] or usable
    if not usable:
        raise VideoError(f"FFmpeg encodes {codec} in pixel formats only that cannot be used here")
    if picture_format.name in {x.name for x in usable}:
        return _with_quality(codec, name, picture_format.name, crf)
    best, _ = find_best_pix_fmt_of_list(usable, picture_format)
    return _with_quality(codec, name, best.name, crf)


def _raw_formats(picture_format: av.VideoFormat) -> list[av.VideoFormat]:
    """Formats for an encoder that takes any; planar RGB is not read back from all containers."""
    return [av.VideoFormat("bgr24")] if picture_format.is_rgb else [picture_format]


def _is_plain_rgb(video_format: av.VideoFormat) -> bool:
    """Check that a format has red, green and blue of 8 bits or more, and no palette."""
    components = video_format.components
    return (
        video_format.is_rgb
        and len(components) >= 3
        and all(8 <= component.bits <= 16 for component in components)
        and not video_format.has_palette
    )


def encoder_timing(codec: str, rate: Fraction, time_base: Fraction) -> tuple[Fraction, Fraction]:
    """Rate and time base of an encoder, both as near to a source's as the codec has them.

    Args:
        codec: FFmpeg's name of the codec.
        rate: frames per second of the source.
        time_base: unit of its time stamps, in seconds.
    """
    if codec in ("mpeg1video", "mpeg2video"):  # a time stamp is the number of a frame
        multiples = [x for x in MPEG_RATES if abs(x / rate - max(round(x / rate), 1)) < RATE_ERROR]
        rate = min(multiples, default=MPEG_RATES[-1])
        return rate, 1 / rate
    if codec == "mpeg4" and time_base.denominator > MPEG4_LIMIT:
        time_base = MPEG4_TIME_BASE
    return min(rate, Fraction(MAX_RATE)), time_base


def find_encoder(codec: str) -> str:
    """Name of the first encoder of a codec that this build of FFmpeg has.

    Raises:
        VideoError: it has none.
    """
    for name in ENCODERS.get(codec, (codec,)):
        try:
            return av.Codec(name, "w").name
        except av.codec.codec.UnknownCodecError:
            continue
    others = [x for x in CODECS if x != codec]
    raise VideoError(
        f"FFmpeg has no encoder of {codec} here: take --video-codec {' or '.join(others)}"
    )


def _with_quality(codec: str, name: str, pix_fmt: str, crf: int | None) -> Encoder:
    options = dict(SPEED.get(name, {}))
    has_crf = codec in DEFAULT_CRF and name != "libopenh264"
    if crf is not None and (not has_crf or crf > MAX_CRF[codec]):
        limit = f"0 to {MAX_CRF[codec]}" if has_crf else "no constant rate factor"
        raise VideoError(f"--crf is {crf}, but {codec} has {limit}")
    if has_crf:
        options["crf"] = str(DEFAULT_CRF[codec] if crf is None else crf)
    divisors = (1, 1)
    if name in WHOLE_CHROMA:
        video_format = av.VideoFormat(pix_fmt, 64, 64)
        divisors = 64 // video_format.chroma_width(), 64 // video_format.chroma_height()
    return Encoder(name, codec, pix_fmt, options, has_crf, divisors)
