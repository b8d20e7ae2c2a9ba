"""Check whether a video file ends before its header says."""

from fractions import Fraction

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
