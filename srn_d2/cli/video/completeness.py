"""Check whether a video file ends before its header says, or goes on after its end."""

import mmap
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

# Containers whose duration FFmpeg estimates from their end or from the bit rate.
ESTIMATED_DURATION = frozenset(
    ("mpegts", "mpeg", "ogg", "mpegvideo", "m4v", "h264", "hevc", "obu", "dv", "vc1", "mjpeg")
)
# What may be missing at the end of a complete file: the header's duration is that of the longest
# track, is rounded, and of a few files is wrong.
MAX_MISSING_SECONDS = 2.0
MAX_MISSING_PART = 0.1
MIN_MISSING_FRAMES = 2
# Containers of which FFmpeg reads the first one only, if a file has several: the beginning of one.
_STARTS = {
    "flv": re.compile(rb"FLV\x01[\x01\x04\x05]\0\0\0\x09\0\0\0\0"),
    "asf": re.compile(re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"))),
}


def missing_end(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    num_read: int,
    end: Fraction,
) -> str:
    """What is missing at the end of a file that was read to its end.

    Args:
        container: the file.
        stream: its video.
        num_read: number of decoded frames.
        end: end of the last packet, in seconds.

    Returns:
        a sentence's end; "" if nothing is missing, or if that cannot be told.
    """
    missing_bytes = _indexed_end(container) - container.size
    if missing_bytes > 0:
        return (
            f"it ends after {num_read} of {stream.frames or len(stream.index_entries)} frames, "
            f"{missing_bytes} bytes before the end of its data: truncated"
        )
    names = set(container.format.name.split(","))
    duration = max(container.duration or 0, 0) / av.time_base
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    if "avi" in names:  # FFmpeg reduces the duration of a cut file
        duration = max(duration, stream.frames / rate)
    if not duration or names & ESTIMATED_DURATION:
        return ""
    tolerated = max(
        min(MAX_MISSING_SECONDS, MAX_MISSING_PART * duration), MIN_MISSING_FRAMES / rate
    )
    if duration - float(end) <= tolerated:
        return ""
    return (
        f"it ends at {float(end):.2f} s of {duration:.2f} s by its header, after {num_read} "
        "frames: truncated or damaged"
    )


def _indexed_end(container: av.container.InputContainer) -> int:
    """End of the data that the index names, in bytes; 0 for containers without a full index."""
    if "mp4" not in container.format.name.split(","):
        return 0
    ends = [0]
    for stream in container.streams:
        if len(stream.index_entries):
            last = stream.index_entries[len(stream.index_entries) - 1]
            ends.append(last.pos + last.size)
    return max(ends)


def next_recording(path: Path, container: av.container.InputContainer) -> str:
    """What follows the recording in a file of joined ones, which FFmpeg does not read.

    Returns:
        a sentence's end; "" if nothing follows.
    """
    names = set(container.format.name.split(","))
    position = None
    if "mp4" in names:
        headers = [start for start, name in _boxes(path) if name == b"moov"]
        others = [start for start, name in _boxes(path) if name == b"ftyp"][1:]
        position = next(iter([*others, *headers[1:]]), None)
    for name in names & _STARTS.keys():
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            match = _STARTS[name].search(data, 1)
            position = match.start() if match else None
    if position is None:
        return ""
    return (
        f"another recording begins at byte {position}, which may be left out: split the file there"
    )


def _boxes(path: Path) -> Iterator[tuple[int, bytes]]:
    """Positions and names of the outer boxes of an MP4 file."""
    size = path.stat().st_size
    position = 0
    with open(path, "rb") as file:
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            yield position, header[4:8]
            length = int.from_bytes(header[:4], "big")
            if length == 1:  # 64 bits
                length = int.from_bytes(header[8:16], "big")
            if length < 8:  # up to the end, or damaged
                return
            position += length


def num_frames_by_header(
    container: av.container.InputContainer, stream: av.VideoStream, rate: Fraction
) -> int | None:
    """Number of frames by the header, or by the duration; None if unknown."""
    if stream.frames:
        return stream.frames
    seconds = Fraction(max(container.duration or 0, 0), av.time_base)
    return round(seconds * rate) or None
