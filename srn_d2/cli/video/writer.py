"""Video files with the time stamps and the sound of their source, through PyAV (FFmpeg)."""

import errno
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NoReturn

import av
from av.video.reformatter import ColorRange

from .codecs import LAMBDA_PER_QP, QSCALE, Encoder, choose_encoder, copy_encoder, encoder_timing
from .errors import VideoError
from .planes import default_matrix, fit, pad, padded_size
from .sound import SoundTrack

# Errors of the disk and the folder, not of FFmpeg.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO, errno.ENOENT)
# Metadata of the container itself.
TECHNICAL_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "software")
MP4_SUFFIXES = (".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".f4v")


@dataclass(frozen=True)
class Origin:
    """What the video written takes over from its source.

    Attributes:
        rate: frames per second; those of variable rate are written at their time stamps.
        time_base: unit of the time stamps, in seconds.
        codec: FFmpeg's name of the codec.
        sound: streams of sound.
        start: time of the source's start by the time stamps of its sound, in seconds.
        metadata: such as title and place of recording.
        language: of the pictures; "" if unknown.
    """

    rate: Fraction
    time_base: Fraction
    codec: str = ""
    sound: Sequence[av.AudioStream] = ()
    start: Fraction = Fraction(0)
    metadata: Mapping[str, str] = field(default_factory=dict)
    language: str = ""


class VideoWriter:
    """A video file.

    All frames have the first one's size: later ones of another size are scaled to fit.

    Args:
        path: its suffix names the container.
        origin: see ``Origin``.
        codec: "h264", "av1" or "vp9"; None: H.264, or AV1 for more than 8 bits.
        copy_codec: instead of it, the codec of the source.
        crf: constant rate factor, the smaller the better; None: the codec's default.
        keep_metadata: write the source's metadata; else none.
        name: the file's name in messages; None: ``path``.
    """

    def __init__(
        self,
        path: str | Path,
        origin: Origin,
        *,
        codec: str | None = None,
        copy_codec: bool = False,
        crf: int | None = None,
        keep_metadata: bool = False,
        name: str | Path | None = None,
    ):
        self.path = Path(path)
        self._name = str(name or path)
        self.notes: list[str] = []
        self._origin = origin
        self._codec, self._copies_codec, self._crf = codec, copy_codec, crf
        self._keeps_metadata = keep_metadata
        self._container: av.container.OutputContainer | None = None
        self._early_sound: list[av.Packet] = []
        self._sound: dict[int, SoundTrack] = {}
        self._durations: dict[int, int] = {}
        self._next_stamp = -math.inf

    def write(self, picture: av.VideoFrame, pixel_aspect: Fraction = Fraction(1)) -> None:
        """Append a frame, at its time stamp.

        Args:
            picture: of a planar format.
            pixel_aspect: width of a pixel by its height; that of the first frame counts.

        Raises:
            VideoError: the file cannot be written, or there is no such encoder.
            OSError: the disk is full, or the like.
        """
        try:
            if self._container is None:
                self._open(picture, pixel_aspect)
            picture = self._conform(picture)
            stamp = round(picture.pts * picture.time_base / self._time_base)
            stamp = max(stamp, self._next_stamp)  # in a coarser unit
            self._next_stamp = stamp + 1
            duration = round(picture.duration * picture.time_base / self._time_base)
            self._durations[stamp] = max(duration, 1)
            picture.pts, picture.time_base = stamp, self._time_base
            picture.duration = self._durations[stamp]
            self._mux(self._stream.encode(picture))
        except av.FFmpegError as error:
            self._raise(error)

    def write_sound(self, packet: av.Packet) -> None:
        """Append a packet of one of the source's streams of sound."""
        if self._container is None:
            self._early_sound.append(packet)
            return
        track = self._sound.get(packet.stream.index)
        if track is None:
            return
        try:
            for ready in track.convert(packet):
                self._container.mux(ready)
        except av.FFmpegError as error:
            self._raise(error)

    def close(self) -> None:
        """Write the frames that the encoder still has, and the file's trailer."""
        if self._container is None:
            return
        try:
            self._mux(self._stream.encode(None))
            for track in self._sound.values():
                for ready in track.flush():
                    self._container.mux(ready)
        except av.FFmpegError as error:
            self._raise(error)
        finally:
            self._close_container()

    def abort(self) -> None:
        """Close the file, whatever is in it."""
        try:
            self._close_container()
        except (VideoError, OSError):
            return

    def _close_container(self) -> None:
        container, self._container = self._container, None
        if container is not None:
            try:
                container.close()
            except av.FFmpegError as error:
                self._raise(error)

    def _open(self, picture: av.VideoFrame, pixel_aspect: Fraction) -> None:
        if self._copies_codec:
            encoder = copy_encoder(self._origin.codec, picture.format, self._crf)
        else:
            encoder = choose_encoder(self._codec, picture.format, self._crf)
        self._encoder = encoder
        if encoder.name == "libsvtav1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only, on stderr
        options = {}
        if self.path.suffix.lower() in MP4_SUFFIXES:  # begin with the index, as browsers want it
            tags = "+use_metadata_tags" if self._keeps_metadata else ""
            options = {"movflags": f"+faststart{tags}"}
        self._container = av.open(f"file:{self.path}", "w", options=options)
        self._container.flags |= av.container.Flags.bitexact.value  # names no software
        if self._keeps_metadata:
            tags = self._origin.metadata
            kept = {key: tags[key] for key in tags if key not in TECHNICAL_TAGS}
            self._container.metadata.update(kept)
        self._stream = self._add_video(encoder, picture, pixel_aspect)
        for stream in self._origin.sound:
            track = SoundTrack(self._container, stream, self._origin.start)
            self.notes += track.notes
            if track.is_written:
                self._sound[stream.index] = track
        self._container.start_encoding()
        early, self._early_sound = self._early_sound, []
        for packet in early:
            self.write_sound(packet)

    def _add_video(
        self, encoder: Encoder, picture: av.VideoFrame, pixel_aspect: Fraction
    ) -> av.VideoStream:
        """Add the stream of pictures; its settings are those of the first one."""
        rate, time_base = encoder_timing(encoder.codec, self._origin.rate, self._origin.time_base)
        self._time_base = time_base
        try:
            stream = self._container.add_stream(encoder.name, rate=rate, options=encoder.options)
        except ValueError as error:
            raise VideoError(
                f"{encoder.codec} cannot be written to {self.path.suffix} files"
            ) from error
        self._size = picture.width, picture.height
        stream.width, stream.height = padded_size(*self._size, encoder.divisors)
        if (stream.width, stream.height) != self._size:
            self.notes.append(
                f"{encoder.codec} needs even sides: {self._size[0]} x {self._size[1]} pixels "
                f"became {stream.width} x {stream.height}, the last column or row is doubled"
            )
        if self._origin.language:
            stream.metadata["language"] = self._origin.language
        context = stream.codec_context
        stream.pix_fmt = encoder.pix_fmt
        stream.time_base = context.time_base = time_base
        context.sample_aspect_ratio = pixel_aspect
        # At a variable rate, B-frames make FFmpeg write MP4 files that end before the last frame.
        context.max_b_frames = 0
        is_from_rgb = picture.format.is_rgb and not context.format.is_rgb
        context.colorspace = default_matrix(picture.height) if is_from_rgb else picture.colorspace
        context.color_range = ColorRange.MPEG if is_from_rgb else picture.color_range
        context.color_trc, context.color_primaries = picture.color_trc, picture.color_primaries
        if not encoder.has_crf:
            context.qscale = True
            context.global_quality = QSCALE * LAMBDA_PER_QP
        if encoder.codec == "hevc" and self.path.suffix.lower() in MP4_SUFFIXES:
            context.codec_tag = "hvc1"  # the tag that Apple's players take
        return stream

    def _conform(self, picture: av.VideoFrame) -> av.VideoFrame:
        """A frame of the stream's size and pixel format."""
        if (picture.width, picture.height) != self._size:
            note = "the size changes; all frames are scaled to fit the first one's"
            if note not in self.notes:
                self.notes.append(note)
            picture = fit(picture, *self._size)
        picture = pad(picture, self._encoder.divisors)
        if picture.format.name == self._encoder.pix_fmt:
            return picture
        context = self._stream.codec_context
        pts, time_base, duration = picture.pts, picture.time_base, picture.duration
        picture = picture.reformat(
            format=self._encoder.pix_fmt,
            src_colorspace=picture.colorspace,
            dst_colorspace=context.colorspace,
            src_color_range=picture.color_range,
            dst_color_range=context.color_range,
        )
        picture.pts, picture.time_base, picture.duration = pts, time_base, duration
        return picture

    def _mux(self, packets: Sequence[av.Packet]) -> None:
        for packet in packets:
            packet.duration = self._durations.pop(packet.pts, packet.duration)
            self._container.mux(packet)

    def _raise(self, error: av.FFmpegError) -> NoReturn:
        """Raise an error that names the file; OSErrors of the disk stay such."""
        if error.errno in DISK_ERRORS:
            raise OSError(error.errno, error.strerror, self._name) from error
        raise VideoError(f"The video {self._name} cannot be written: {error}") from error
