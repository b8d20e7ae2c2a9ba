"""Frames and sound of a video file, through PyAV (FFmpeg)."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.logging

from ..printing import printable
from .completeness import missing_end, next_recording, num_frames_by_header
from .errors import VideoError
from .frame import Frame
from .orientation import UPRIGHT, Orientation, read_display_matrix
from .planes import (
    MAX_PIXEL_ASPECT,
    Converter,
    display_size,
    has_square_chroma,
    is_planar,
    oriented_copy,
    planar_format,
)
from .problems import LostFrames, Problem
from .timeline import BROADCAST, MAX_BACK, Timeline

# Rate of videos that report none.
DEFAULT_RATE = Fraction(25)
# Nothing but files is opened, whatever a playlist or another file names.
CONTAINER_OPTIONS = {"protocol_whitelist": "file"}
# Errors of the container in a row after which the rest is given up.
MAX_CONTAINER_ERRORS = 100
# Containers whose time stamps count from the start of the file; those of others, such as broadcast
# streams, begin anywhere.
ZERO_BASED = frozenset(("mov", "mp4", "matroska", "webm", "avi", "flv", "asf", "nut", "mxf"))


class VideoReader:
    """The frames and the sound of a video file, in order, once.

    Args:
        path: a file.
        max_frames: number of frames after which to stop; None: all.
        with_sound: give the packets of the sound, too.

    Attributes:
        rate: frames per second, on average.
        num_frames: number of frames by the header, often an estimate; None if unknown.
        num_subtitles: number of tracks of subtitles.
        missing_end: after the last frame, what is missing at the end of a truncated file, or
            follows in one of joined recordings, as a sentence's end. "" if nothing is, if that
            cannot be told, or if the end is not wanted.
        problems: damaged frames, and damage of the container.
        timeline: knows where the time stamps jump.
        notes: what else a user should know of.

    Raises:
        VideoError: it cannot be opened, or has no video.
    """

    def __init__(self, path: str | Path, max_frames: int | None = None, with_sound: bool = True):
        _collect_log_messages()
        self.path = Path(path)
        self.missing_end = ""
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self._max_frames = max_frames
        self._container = open_container(path)
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None:
            kind = "no video in it" if stream is None else "a codec that FFmpeg cannot decode"
            self._container.close()
            raise VideoError(f"{printable(self.path)} has {kind}")
        self.stream = stream
        # One thread: with more, messages cannot be told apart by frame.
        stream.codec_context.thread_count = 1
        self.sound_streams = list(self._container.streams.audio) if with_sound else []
        self.rate = Fraction(stream.guessed_rate or stream.average_rate or DEFAULT_RATE)
        self.num_frames = num_frames_by_header(self._container, stream, self.rate)
        self.pixel_aspect = _pixel_aspect(stream)
        self.metadata = dict(self._container.metadata)
        self.num_subtitles = len(self._container.streams.subtitles)
        self.start = self._find_start()
        self._converter = Converter()
        self._num_read = 0
        self._end = Fraction(0)  # of the last packet, in seconds
        self._last_pts = self._next_pts = 0
        formats = set(self._container.format.name.split(","))
        self.timeline = Timeline(stream, self.sound_streams, self.rate, bool(formats & BROADCAST))
        self._orientation = UPRIGHT
        if len(self._container.streams.video) > 1:
            self._note("of several streams of video, one is processed, and the others are left out")

    def __iter__(self) -> Iterator[Frame | av.Packet]:
        """Frames, and packets of ``sound_streams`` that begin before the last frame's end.

        Raises:
            VideoError: there is not a single frame.
        """
        frames_end: Fraction | None = None  # end of the last frame wanted
        lost = LostFrames(self.problems, 1 / self.rate)
        for packet in self._moved_packets():
            if packet.stream != self.stream:
                yield from self._sound(packet, frames_end)
            elif frames_end is None:
                time = None if packet.dts is None else packet.dts * packet.time_base - self.start
                lost.add(time, packet.is_corrupt, len(self.timeline.jumps))
                for picture in self._decode(packet):
                    yield self._frame(picture)
                    if self._num_read == self._max_frames:
                        frames_end = self._next_pts * self.stream.time_base
                        break
            if frames_end is not None and self._is_past(packet, frames_end):
                break
        if text := self.timeline.describe(self.start):
            self._note(text)
        if not self._num_read:
            raise VideoError(f"{printable(self.path)} has no frame that can be decoded")
        if frames_end is None:
            end = self._end - self.start
            missing = missing_end(self._container, self.stream, self._num_read, end)
            following = next_recording(self.path, self._container)
            self.missing_end = " and ".join(filter(None, (missing, following)))

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def seconds(self, packet: av.Packet) -> Fraction | None:
        """Time of a packet since the start of the file."""
        stamp = packet.dts if packet.pts is None else packet.pts
        return None if stamp is None else stamp * packet.time_base - self.start

    def time_offset(self, time_base: Fraction) -> int:
        """Time stamp of the start of the file."""
        return round(self.start / time_base)

    def _find_start(self) -> Fraction:
        """Time of the start of the file by its time stamps."""
        if ZERO_BASED & set(self._container.format.name.split(",")):
            first = self.stream.start_time
            return Fraction(min(first * self.stream.time_base, 0)) if first else Fraction(0)
        return Fraction(self._container.start_time or 0, av.time_base)

    def _packets(self) -> Iterator[av.Packet]:
        """All packets as they are in the file; the demuxer's errors are recorded."""
        num_errors = 0
        packets = self._container.demux()
        while num_errors < MAX_CONTAINER_ERRORS:
            with av.logging.Capture() as messages:
                try:
                    packet = next(packets, None)
                except av.FFmpegError as error:
                    messages.append((av.logging.ERROR, "", error.strerror or str(error)))
                    packets, packet = self._container.demux(), ...
            if messages:
                num_errors += 1
                self.problems.append(Problem(float(self._end - self.start), messages[0][2]))
            if packet is None:
                return
            if packet is not ...:
                if packet.size:
                    num_errors = 0
                yield packet

    def _moved_packets(self) -> Iterator[av.Packet]:
        """All packets, on one line of time."""
        for packet in self._packets():
            if not packet.size and packet.pts is None:  # the end, for decoders
                yield from self.timeline.flush()
            for moved in self.timeline.move(packet):
                if moved.pts is not None:
                    end = (moved.pts + (moved.duration or 0)) * moved.time_base
                    self._end = max(self._end, end)
                yield moved

    def _sound(self, packet: av.Packet, frames_end: Fraction | None) -> Iterator[av.Packet]:
        if packet.stream in self.sound_streams and packet.dts is not None:
            seconds = self.seconds(packet)
            if frames_end is None or seconds is None or seconds < frames_end:
                yield packet

    def _is_past(self, packet: av.Packet, frames_end: Fraction) -> bool:
        """Check that nothing before ``frames_end`` follows, up to usual interleaving."""
        seconds = self.seconds(packet)
        is_sound = packet.stream in self.sound_streams
        return not self.sound_streams or (
            is_sound and seconds is not None and seconds >= frames_end
        )

    def _decode(self, packet: av.Packet) -> list[av.VideoFrame]:
        """Decode a packet; errors are recorded."""
        pictures: list[av.VideoFrame] = []
        with av.logging.Capture() as messages:
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                messages.append((av.logging.ERROR, "", error.strerror or str(error)))
        stamp = self.seconds(packet)
        time = float(self._end - self.start if stamp is None else stamp)
        if messages and packet.size:
            self.problems.append(Problem(time, messages[0][2]))
        elif any(picture.is_corrupt for picture in pictures):
            self.problems.append(Problem(time, "not complete"))
        return pictures

    def _frame(self, picture: av.VideoFrame) -> Frame:
        stamp = picture.pts if picture.pts is not None else picture.dts
        time_base = picture.time_base or self.stream.time_base
        if stamp is None:
            stamp = self._next_pts + self.time_offset(time_base)
        if not picture.duration:
            picture.duration = max(round(1 / self.rate / time_base), 1)
        # Encoders want increasing time stamps.
        picture.pts = stamp - self.time_offset(time_base)
        if self._num_read and picture.pts < self._last_pts + 1:
            if (self._last_pts - picture.pts) * time_base > MAX_BACK:
                self.timeline.late_frames.append(self._last_pts * time_base)
            picture.pts = self._last_pts + 1
        picture.time_base = time_base
        self._last_pts = picture.pts
        self._next_pts = picture.pts + picture.duration
        upright = self._upright(picture)
        aspect = self.pixel_aspect
        if self._orientation.transpose:
            aspect = 1 / aspect
        size = display_size(upright.width, upright.height, aspect)
        rgb = self._converter.to_rgb(upright, *size, for_detector=True)
        self._num_read += 1
        time = float(picture.pts * time_base)
        return Frame(self._num_read - 1, time, upright, rgb, aspect)

    def _upright(self, picture: av.VideoFrame) -> av.VideoFrame:
        """A copy in a planar format, turned and mirrored as players show it."""
        self._orientation = orientation = self._read_orientation(picture)
        if picture.interlaced_frame:
            self._note("interlaced; the frames are written as they are, without that mark")
        if any(component.is_alpha for component in picture.format.components):
            self._note("transparency is left out")
        if not is_planar(picture.format) or (
            orientation.transpose and not has_square_chroma(picture.format)
        ):
            name = planar_format(picture.format, square_chroma=orientation.transpose)
            picture = picture.reformat(format=name)
        return oriented_copy(picture, orientation)

    def _read_orientation(self, picture: av.VideoFrame) -> Orientation:
        try:
            matrix = bytes(picture.side_data["DISPLAYMATRIX"])
        except KeyError:
            return UPRIGHT
        orientation = read_display_matrix(matrix)
        if orientation is None:
            self._note("a turn by no multiple of 90 degrees is left out")
        return orientation or UPRIGHT

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def open_container(path: str | Path) -> av.container.InputContainer:
    """Open a file for reading.

    Raises:
        VideoError: it is no video, or cannot be read.
    """
    name = printable(Path(path))
    try:
        return av.open(f"file:{path}", "r", options=CONTAINER_OPTIONS, metadata_errors="replace")
    except (av.error.InvalidDataError, av.error.EOFError) as error:
        raise VideoError(
            f"The video {name} cannot be opened: it is no video, or it is truncated and has lost "
            "its index"
        ) from error
    except av.FFmpegError as error:
        raise VideoError(f"The video {name} cannot be opened: {error.strerror}") from error


def _pixel_aspect(stream: av.VideoStream) -> Fraction:
    """Width of a stored pixel by its height; 1 if unknown or absurd."""
    aspect = stream.sample_aspect_ratio
    if not aspect or not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        return Fraction(1)
    return Fraction(aspect)


def _collect_log_messages() -> None:
    """Let FFmpeg's errors reach ``av.logging.Capture``; they are printed nowhere."""
    if av.logging.get_level() is None:
        av.logging.set_level(av.logging.ERROR)
        av.logging.set_skip_repeated(False)
        logging.getLogger("libav").addHandler(logging.NullHandler())
        logging.getLogger("libav").propagate = False
