"""Sound of a video that is written: packets copied, or encoded anew where that is impossible."""

from collections.abc import Iterator
from fractions import Fraction

import av

# Sound that MP4 files have in practice, besides what FFmpeg's MP4 writer takes.
BROWSER_CODECS = ("aac", "mp3", "opus", "flac", "ac3", "eac3", "alac", "vorbis")
FALLBACK_CODEC = "aac"
UNKNOWN_LANGUAGE = "und"
# Layouts with the same loudspeakers as those that AAC has a number for; all players know these.
PLAYED_LAYOUTS = {"5.0(side)": "5.0", "5.1(side)": "5.1"}
# Layouts of containers that name a number of channels only, as in WAV files.
USUAL_LAYOUTS = {3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


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
            self._keep_language()
            return
        self._encodes = True
        rates = av.Codec(FALLBACK_CODEC, "w").audio_rates or [source.rate]
        rate = min(rates, key=lambda x: abs(x - source.rate))
        self._stream = container.add_stream(FALLBACK_CODEC, rate=rate)
        self._keep_language()
        layout = _layout(source, rate)
        mix = f", its {source.channels} channels became {layout}"
        is_mixed = av.AudioLayout(layout).nb_channels != source.channels
        self.notes.append(
            f"sound of the codec {name} became {FALLBACK_CODEC}{mix if is_mixed else ''}"
        )
        self._stream.codec_context.layout = layout
        self._resampler: av.AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None  # of the resampler's input
        self._last_dts: int | None = None

    def _keep_language(self) -> None:
        language = self._source.metadata.get("language", UNKNOWN_LANGUAGE)
        if language != UNKNOWN_LANGUAGE:
            self._stream.metadata["language"] = language

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
            yield from self._in_order(self._encode(frame))

    def flush(self) -> Iterator[av.Packet]:
        """The last packets of an encoder."""
        if self._encodes:
            yield from self._in_order(self._finish())

    def _finish(self) -> Iterator[av.Packet]:
        if self._resampler is not None:
            for frame in self._resampler.resample(None):
                yield from self._stream.encode(frame)
        yield from self._stream.encode(None)

    def _encode(self, frame: av.AudioFrame) -> Iterator[av.Packet]:
        context = self._stream.codec_context
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or kind != self._kind:  # in joined files it may change
            self._kind = kind
            self._resampler = av.AudioResampler(
                context.format, context.layout, context.rate, context.frame_size or None
            )
        if frame.pts is not None:
            frame.pts -= round(self._start / frame.time_base)
        for resampled in self._resampler.resample(frame):
            yield from self._stream.encode(resampled)

    def _in_order(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """Packets without those that overlap the ones before, where parts of a file join."""
        for packet in packets:
            if self._last_dts is None or packet.dts is None or packet.dts > self._last_dts:
                self._last_dts = packet.dts
                yield packet


def _layout(source: av.AudioStream, rate: int) -> str:
    """The loudspeakers of a track in the fallback codec; stereo if it has not the source's."""
    if source.channels <= 2:
        return "mono" if source.channels == 1 else "stereo"
    name = source.layout.name
    if name == f"{source.channels} channels":
        name = USUAL_LAYOUTS.get(source.channels, name)
    name = PLAYED_LAYOUTS.get(name, name)
    if source.channels > max(USUAL_LAYOUTS):
        return "stereo"
    context = av.CodecContext.create(FALLBACK_CODEC, "w")
    context.layout, context.sample_rate = name, rate
    context.format = "fltp"
    try:
        context.open()
    except (av.FFmpegError, ValueError):
        return "stereo"
    return name
