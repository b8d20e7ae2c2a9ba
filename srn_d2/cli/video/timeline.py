"""One line of time for files whose time stamps jump: joined recordings, broadcast streams.

The parts of such a file follow each other, each with its own duration. Where a part begins is told
by the video's decoding times; sound goes over to it when its own time stamps do.
"""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av

from .problems import list_times

# Decoding times of a whole file do not go back; estimated ones do by some frames.
MAX_BACK = Fraction(1, 10)
# Longer pauses are jumps, where time stamps may begin anew: FFmpeg's limit for the same.
MAX_PAUSE = 10
# Sound that jumps waits for the video to jump too, for so many seconds of video.
MAX_WAIT = 5
# The sound of a part may be longer than its video; only beyond this the next part waits for it.
MAX_OVERLAP = Fraction(1, 10)
# Containers whose time stamps may jump forward, and may wrap around.
BROADCAST = frozenset(("mpegts", "mpeg"))


@dataclass
class _Track:
    """Where a stream is.

    Attributes:
        part: index of the part that its last packet belongs to.
        shift: seconds added to the part's own, for sound that has jumped alone.
        last: time of its last packet.
        end: end of its last packets.
        waiting: packets whose part is not known yet.
        waits_since: end of the video when they began to wait.
    """

    part: int = 0
    shift: Fraction = Fraction(0)
    last: Fraction | None = None
    end: Fraction | None = None
    waiting: deque[av.Packet] = field(default_factory=deque)
    waits_since: Fraction = Fraction(0)


class Timeline:
    """Moves the time stamps of packets so that the parts of a file follow each other.

    Args:
        video: the stream that parts are told by.
        sound: streams of sound.
        rate: frames per second, for packets without a duration.
        jumps_forward: whether pauses of more than ``MAX_PAUSE`` seconds are jumps, too.

    Attributes:
        jumps: times at which a part follows on another, in seconds by the new time stamps.
        sound_jumps: the same of sound that jumps alone, and may not be in step any more.
        late_frames: times, since the start of the file, after which the reader got a frame that
            belongs long before, and that it had to put there.
    """

    def __init__(
        self,
        video: av.VideoStream,
        sound: Collection[av.AudioStream],
        rate: Fraction,
        jumps_forward: bool,
    ):
        self.jumps: list[Fraction] = []
        self.sound_jumps: list[Fraction] = []
        self.late_frames: list[Fraction] = []
        self._video = video.index
        self._tracks = {stream.index: _Track() for stream in (video, *sound)}
        self._frame = 1 / rate
        self._jumps_forward = jumps_forward
        self._offsets = [Fraction(0)]  # of each part, in seconds

    def move(self, packet: av.Packet) -> Iterator[av.Packet]:
        """Packets that are ready, at their new times: this one, or those that waited for it."""
        track = self._tracks.get(packet.stream.index)
        if track is None or packet.dts is None:
            if track is not None:
                self._put(packet, track, self._offsets[track.part] + track.shift)
            yield packet
            return
        if packet.stream.index == self._video:
            self._move_video(packet, track)
            yield packet
            for other in self._tracks.values():
                yield from self._release(other)
            return
        if not track.waiting:
            track.waits_since = self._video_end
        track.waiting.append(packet)
        yield from self._release(track)

    def flush(self) -> Iterator[av.Packet]:
        """The sound that waits at the end of the file."""
        for track in self._tracks.values():
            yield from self._release(track, at_end=True)

    def describe(self, start: Fraction) -> str:
        """What was bridged; "" if nothing was.

        Args:
            start: time stamp of the start of the file, in seconds.
        """
        if not self.jumps:
            return ""
        times = list_times(time - start for time in self.jumps)
        return f"the time stamps jump; what follows was joined on at {times}"

    def describe_problems(self, start: Fraction) -> str:
        """What could not be bridged; "" if all could. See ``describe``."""
        texts = []
        if self.sound_jumps:
            times = list_times(time - start for time in self.sound_jumps)
            texts.append(
                f"the time stamps of the sound jump without the video's at {times}: it may be out "
                "of step from there on"
            )
        if self.late_frames:
            times = list_times(self.late_frames)
            texts.append(f"frames have time stamps before those of earlier ones, at {times}")
        return " and ".join(texts)

    @property
    def _video_end(self) -> Fraction:
        return self._tracks[self._video].end or Fraction(0)

    def _move_video(self, packet: av.Packet, track: _Track) -> None:
        time = packet.dts * packet.time_base + self._offsets[-1]
        if track.last is not None and (
            time < track.last - MAX_BACK
            or (self._jumps_forward and time > max(track.last, track.end) + MAX_PAUSE)
        ):
            start = self._video_end
            ends = [x.end for x in self._tracks.values() if x.end is not None and not x.waiting]
            if max(ends) > start + MAX_OVERLAP and max(ends) < start + MAX_PAUSE:
                start = max(ends)
            self.jumps.append(start)
            stamp = packet.dts if packet.pts is None else packet.pts
            self._offsets.append(start - stamp * packet.time_base)
            track.part += 1
        elif track.end is not None and packet.pts is not None and self._jumps_forward:
            delay = (packet.pts - packet.dts) * packet.time_base
            if not -MAX_BACK <= delay <= MAX_PAUSE:  # estimated from the next part's times
                packet.pts = round((track.end - self._offsets[-1]) / packet.time_base)
        self._put(packet, track, self._offsets[-1])

    def _release(self, track: _Track, at_end: bool = False) -> Iterator[av.Packet]:
        """The packets of sound whose part is known, without those before the last one's time."""
        while track.waiting:
            packet = track.waiting[0]
            if not self._find_part(packet, track):
                if not at_end and self._video_end - track.waits_since <= MAX_WAIT:
                    return
                self._join_alone(packet, track)
            track.waits_since = self._video_end
            track.waiting.popleft()
            offset = self._offsets[track.part] + track.shift
            if track.last is None or packet.dts * packet.time_base + offset > track.last:
                self._put(packet, track, offset)
                yield packet

    def _find_part(self, packet: av.Packet, track: _Track) -> bool:
        """Find the part in which a packet of sound follows best on the last one."""
        own = packet.dts * packet.time_base
        reference = self._video_end if track.end is None else track.end
        best: tuple[Fraction, int, Fraction] | None = None
        for part in range(track.part, len(self._offsets)):
            for shift in {track.shift, Fraction(0)}:
                time = own + self._offsets[part] + shift
                is_same = (part, shift) == (track.part, track.shift)
                if not self._follows(time, track, MAX_BACK if is_same else MAX_WAIT):
                    continue
                distance = abs(time - reference)
                if best is None or distance < best[0]:
                    best = distance, part, shift
        if best is None:
            return False
        _, track.part, track.shift = best
        return True

    def _follows(self, time: Fraction, track: _Track, max_back: Fraction | int) -> bool:
        """Check that a time is about where a track has come to."""
        if track.last is None:
            return True
        if time < track.last - max_back:
            return False
        is_near = time <= max(track.last, track.end, self._video_end) + MAX_PAUSE
        return is_near or not self._jumps_forward

    def _join_alone(self, packet: av.Packet, track: _Track) -> None:
        track.part = len(self._offsets) - 1
        track.shift = track.end - packet.dts * packet.time_base - self._offsets[track.part]
        self.sound_jumps.append(track.end)

    def _put(self, packet: av.Packet, track: _Track, offset: Fraction) -> None:
        ticks = round(offset / packet.time_base)
        if packet.pts is not None:
            packet.pts += ticks
        if packet.dts is not None:
            packet.dts += ticks
            track.last = packet.dts * packet.time_base
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
            return
        duration = (packet.duration or 0) * packet.time_base
        if packet.stream.index == self._video:
            duration = duration or self._frame
        end = stamp * packet.time_base + duration
        track.end = end if track.end is None else max(track.end, end)
