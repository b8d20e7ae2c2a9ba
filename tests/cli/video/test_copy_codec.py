"""Videos that keep their codec: containers, times, sizes and sound."""

from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.video_files import find_red, moving_square, read_frames, write_video
from srn_d2.cli.sources import Source
from srn_d2.cli.video.codecs import MPEG_RATES, encoder_timing
from srn_d2.cli.video.containers import keep_containers
from srn_d2.cli.video.options import VideoOptions
from srn_d2.cli.video.process import process_video


def copy(source):
    """The result, for a video under the name that the command gives it."""
    [kept] = keep_containers([Source(source, Path("-"), Path(source.stem))], source.parent / "out")
    output = source.parent / "out" / kept.name
    output.parent.mkdir(exist_ok=True)
    options = VideoOptions(render="pixelate", copy_codec=True)
    return process_video(find_red, source, output, options, show_progress=False)


def streams(path):
    with av.open(str(path)) as container:
        return [x.codec_context.codec.canonical_name for x in container.streams]


@pytest.mark.parametrize(
    ("name", "encoder", "pix_fmt", "output"),
    [
        ("a.ts", "mpeg2video", "yuv420p", "a.ts.mkv"),
        ("a.mpg", "mpeg1video", "yuv420p", "a.mpg.mkv"),
        ("a.mkv", "mpeg2video", "yuv422p", "a.mkv"),
        ("a.wmv", "wmv2", "yuv420p", "a.wmv"),
        ("a.asf", "wmv1", "yuv420p", "a.asf"),
        ("a.avi", "wmv2", "yuv420p", "a.avi"),
        ("a.avi", "huffyuv", "yuv422p", "a.avi"),
        ("a.avi", "msmpeg4", "yuv420p", "a.avi.mkv"),
        ("a.avi", "mjpeg", "yuvj420p", "a.avi.mkv"),
        ("a.avi", "rawvideo", "bgr24", "a.avi"),
        ("a.flv", "flv", "yuv420p", "a.flv"),
        ("a.m4v", "libx264", "yuv420p", "a.m4v"),
    ],
)
def test_a_container_that_holds_the_codec(tmp_path, name, encoder, pix_fmt, output):
    source = write_video(tmp_path / name, moving_square(4), encoder, pix_fmt)
    result = copy(source)
    assert result.video.name == output
    assert streams(result.video) == streams(source)
    old, new = read_frames(source)[0], read_frames(result.video)[0]
    assert [x - new[0] for x in new] == pytest.approx([x - old[0] for x in old], abs=0.001)


def test_what_cannot_be_read_keeps_a_name(tmp_path):
    for name in ("absent.avi", "broken.mp4"):
        (tmp_path / "broken.mp4").write_bytes(b"no video")
        source = Source(tmp_path / name, Path("-"), Path(name).with_suffix(""))
        [kept] = keep_containers([source], tmp_path / "out")
        assert kept.name.name == {"absent.avi": "absent.avi.mkv"}.get(name, name)


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
@given(rate=st.one_of(st.sampled_from(MPEG_RATES), st.integers(1, 120).map(Fraction)))
def test_frames_of_constant_rate_stay_apart_in_mpeg(codec, rate):
    coded, time_base = encoder_timing(codec, rate, Fraction(1, 90000))
    assert coded in MPEG_RATES
    assert time_base == 1 / coded
    if any((x / rate).denominator == 1 for x in MPEG_RATES):
        assert (coded / rate).denominator == 1


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(50)])
def test_mpeg_2_at_other_rates(tmp_path, rate):
    frames = moving_square(6)
    source = write_video(tmp_path / "a.mkv", frames, "mpeg2video", rate=rate, time_base=1 / rate)
    times = read_frames(copy(source).video)[0]
    assert times == pytest.approx([index / float(rate) for index in range(6)], abs=0.001)


@pytest.mark.parametrize("sound", ["pcm_s16le", "pcm_s24be", "aac"])
def test_mov_keeps_its_sound(tmp_path, sound):
    source = write_video(tmp_path / "a.mov", moving_square(10), "libx264", sound=sound)
    result = copy(source)
    assert streams(result.video) == ["h264", sound]
    assert result.notes == []


@pytest.mark.parametrize(
    ("encoder", "pix_fmt", "size", "written"),
    [
        ("libx265", "yuv444p", (241, 321), (241, 321)),
        ("libx264", "yuv444p", (241, 321), (241, 321)),
        ("libx265", "yuv422p", (241, 322), (241, 322)),
        ("ffv1", "yuv420p", (241, 321), (241, 321)),
        ("libx264", "yuv420p", (240, 320), (240, 320)),
    ],
)
def test_sides_are_padded_for_their_chroma_only(tmp_path, encoder, pix_fmt, size, written):
    source = write_video(
        tmp_path / "a.mkv",
        moving_square(2, size),
        encoder,
        pix_fmt,
        options={"x265-params": "log-level=error:bframes=0"} if encoder == "libx265" else {},
    )
    result = copy(source)
    assert read_frames(result.video)[1][0].shape[:2] == written
    assert result.notes == []
