"""Sound and languages of videos that are written, and subtitles that are not."""

import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from helpers.video_files import find_red, moving_square, sine_packets
from srn_d2.cli.video.options import VideoOptions
from srn_d2.cli.video.process import process_video

RATE = 48000


def tones(num_channels, num_samples=RATE // 2):
    """Samples (channel, time), int16: each channel has a tone of its own, and the number's length.

    All are below the 120 Hz that are left to a loudspeaker for low frequencies.
    """
    times = np.arange(num_samples) / RATE
    frequencies = frequencies_of(num_channels)
    waves = [9000 * np.sin(2 * np.pi * frequency * times) for frequency in frequencies]
    return np.array(waves).astype(np.int16)


def frequencies_of(num_channels):
    return [30 + 10 * index for index in range(num_channels)]


def write(path, layout=None, codec="pcm_s16le", languages=(), subtitles=0, sound_tracks=1):
    """A video of 12 frames with sound, each track of a loudspeaker layout, and subtitles."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        tracks = [container.add_stream(codec, rate=RATE) for _ in range(sound_tracks)]
        for track in tracks:
            track.codec_context.layout = layout or "stereo"
        texts = [container.add_mux_stream("subrip") for _ in range(subtitles)]
        for track, language in zip([stream, *tracks], languages, strict=False):
            track.metadata["language"] = language
        container.start_encoding()
        for index, image in enumerate(moving_square(12, (64, 96), 8, 2)):
            picture = av.VideoFrame.from_ndarray(image)
            picture.pts = index
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        for track in tracks:
            samples = tones(track.codec_context.layout.nb_channels)
            context = track.codec_context
            size = context.frame_size or 1024
            resampler = av.AudioResampler(context.format, context.layout, RATE, size)
            frame = av.AudioFrame.from_ndarray(
                samples.T.reshape(1, -1).copy(), "s16", layout or "stereo"
            )
            frame.rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(track.encode(part))
            container.mux(track.encode(None))
        for track in texts:
            packet = av.Packet(b"Hello")
            packet.stream, packet.time_base = track, Fraction(1, 1000)
            packet.pts = packet.dts = 0
            packet.duration = 300
            container.mux(packet)
    return path


def process(source, **options):
    output = source.parent / "out.mp4"
    options.setdefault("render", "blur")
    return process_video(find_red, source, output, VideoOptions(**options), show_progress=False)


def read_sound(path):
    """Layout and samples (channel, time) of the first track of sound."""
    with av.open(str(path)) as container:
        # Packed: PyAV 18.1 crashes at the planes of eight channels.
        resampler = av.AudioResampler("s16")
        frames = [y for x in container.decode(audio=0) for y in resampler.resample(x)]
        num_channels = frames[0].layout.nb_channels
        samples = [x.to_ndarray().reshape(-1, num_channels).T.copy() for x in frames]
    return frames[0].layout.name, np.concatenate(samples, axis=1)


@pytest.mark.parametrize(
    ("layout", "written"),
    [
        ("mono", "mono"),
        ("stereo", "stereo"),
        ("3.0", "3.0"),
        ("quad", "quad"),
        ("5.0", "5.0"),
        ("5.1", "5.1"),
        ("5.1(side)", "5.1"),
        ("7.1", "7.1"),
    ],
)
def test_each_loudspeaker_keeps_its_sound(tmp_path, layout, written):
    source = write(tmp_path / "a.mov", layout)
    result = process(source)
    assert result.notes == ["sound of the codec pcm_s16le became aac"]
    name, samples = read_sound(result.video)
    assert name == written
    for channel, frequency in zip(samples, frequencies_of(len(samples)), strict=True):
        spectrum = np.abs(np.fft.rfft(channel * np.hanning(len(channel)), 8 * len(channel)))
        assert spectrum.argmax() * RATE / 8 / len(channel) == pytest.approx(frequency, abs=3)


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_containers_that_name_a_number_of_channels(tmp_path, suffix):
    result = process(write(tmp_path / f"a.{suffix}", "5.1"))
    assert read_sound(result.video)[0] == "5.1"
    assert result.notes == ["sound of the codec pcm_s16le became aac"]


def test_more_loudspeakers_than_aac_has_are_mixed_which_is_said(tmp_path):
    result = process(write(tmp_path / "a.mov", "hexadecagonal"))
    assert read_sound(result.video)[0] == "stereo"
    assert result.notes == [
        "sound of the codec pcm_s16le became aac, its 16 channels became stereo"
    ]


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac"])
@pytest.mark.parametrize("keep_metadata", [False, True])
def test_languages_are_kept(tmp_path, codec, keep_metadata):
    languages = ["ger", "fra", "spa"]
    source = write(tmp_path / "a.mkv", codec=codec, languages=languages, sound_tracks=2)
    result = process(source, keep_metadata=keep_metadata)
    with av.open(str(result.video)) as container:
        assert [x.metadata["language"] for x in container.streams] == languages


def test_subtitles_are_named_once(tmp_path, caplog):
    source = write(tmp_path / "a.mkv", codec="aac", subtitles=2)
    with caplog.at_level(logging.INFO, logger="srn_d2.cli"):
        assert process(source).notes == ["subtitles are left out: 2 tracks"]
    assert caplog.text.count("left out") == 1
    source = write(tmp_path / "b.mkv", codec="aac", subtitles=1)
    assert process(source).notes == ["subtitles are left out: 1 track"]
    assert process(source, render=None).notes == []


def test_sound_whose_rate_changes_where_parts_join(tmp_path):
    parts = []
    for rate in (44100, 48000):
        path = tmp_path / f"{rate}.ts"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height = 96, 64
            track = container.add_stream("mp2", rate=rate)
            track.codec_context.layout = "mono"
            for index, image in enumerate(moving_square(25, (64, 96), 8, 2)):
                picture = av.VideoFrame.from_ndarray(image)
                picture.pts = index
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
            for packet in sine_packets(track, 1):
                container.mux(packet)
        parts.append(path.read_bytes())
    source = tmp_path / "a.ts"
    source.write_bytes(b"".join(parts))
    _, samples = read_sound(process(source).video)
    assert samples.shape[1] / 44100 == pytest.approx(2, abs=0.15)
    for second in (samples[0, 8820:35280], samples[0, 52920:79380]):
        spectrum = np.abs(np.fft.rfft(second))
        assert spectrum.argmax() * 44100 / len(second) == pytest.approx(440, abs=5)
