"""Sound of a video that is written: packets copied, or encoded anew where that is impossible."""

from collections.abc import Iterator
from fractions import Fraction

import av

# Sound that MP4 files have in practice, besides what FFmpeg's MP4 writer takes.
BROWSER_CODECS = ("aac", "mp3", "opus", "flac", "ac3", "eac3", "alac", "vorbis")
FALLBACK_CODEC = "aac"


class SoundTrack:
    """A stream of sound in a file that is written.

    Args:
        container: the file.
        source: the stream that it comes from.
        start: time of the source's start, in seconds, which becomes 0.

    Attributes:
        notes: what has changed, or is missing.
        is_written: whether there is sound in the file.
    """

    def __init__(
        self, container: av.container.OutputContainer, source: av.AudioStream, start: Fraction
    ):
        self.notes: list[str] = []
        self._source, self._start = source, start
        self._stream: av.AudioStream | None = None
        self._encodes = False
        if source.codec_context is None:
            self.notes.append("a track of sound is left out: FFmpeg does not know its codec")
            return
        name = source.codec_context.codec.canonical_name
        is_mp4 = container.format.name in ("mp4", "ipod")
        if name in container.supported_codecs and (name in BROWSER_CODECS or not is_mp4):
            self._stream = container.add_stream_from_template(source)
            self._stream.time_base = source.time_base
            return
        self._encodes = True
        self.notes.append(f"sound of the codec {name} became {FALLBACK_CODEC}")
        rates = av.Codec(FALLBACK_CODEC, "w").audio_rates or [source.rate]
        rate = min(rates, key=lambda x: abs(x - source.rate))
        self._stream = container.add_stream(FALLBACK_CODEC, rate=rate)
        # Some containers name a number of channels only.
        self._stream.codec_context.layout = "mono" if source.channels == 1 else "stereo"
        self._resampler: av.AudioResampler | None = None

    @property
    def is_written(self) -> bool:
        return self._stream is not None

    def convert(self, packet: av.Packet) -> Iterator[av.Packet]:
        """Packets for the file."""
        if not self._encodes:
            offset = round(self._start / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - offset
            packet.dts = None if packet.dts is None else packet.dts - offset
            packet.stream = self._stream
            yield packet
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:  # a damaged packet is a moment of silence
            return
        for frame in frames:
            yield from self._encode(frame)

    def flush(self) -> Iterator[av.Packet]:
        """The last packets of an encoder."""
        if self._encodes:
            if self._resampler is not None:
                for frame in self._resampler.resample(None):
                    yield from self._stream.encode(frame)
            yield from self._stream.encode(None)

    def _encode(self, frame: av.AudioFrame) -> Iterator[av.Packet]:
        context = self._stream.codec_context
        if self._resampler is None:
            self._resampler = av.AudioResampler(
                context.format, context.layout, context.rate, context.frame_size or None
            )
        if frame.pts is not None:
            frame.pts -= round(self._start / frame.time_base)
        for resampled in self._resampler.resample(frame):
            yield from self._stream.encode(resampled)
