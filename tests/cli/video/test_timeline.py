"""Files whose time stamps jump: joined recordings."""

import json
from collections import Counter
from itertools import pairwise

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.video_files import find_red, moving_square, read_frames, sine_packets, write_video
from srn_d2.cli.video.errors import DamagedVideoError
from srn_d2.cli.video.frame import Frame
from srn_d2.cli.video.options import VideoOptions
from srn_d2.cli.video.process import process_video
from srn_d2.cli.video.reader import VideoReader

RATE = 25


def write_part(path, num_frames, start=0, sound_start=None, codec="mpeg2video", sound="aac"):
    """A small recording whose time stamps begin at ``start`` seconds; a shift of sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 96, 128, "yuv420p"
        track = container.add_stream(sound, rate=44100)
        track.codec_context.layout = "mono"
        packets = []
        for index, image in enumerate(moving_square(num_frames, (128, 96), 24, 2)):
            picture = av.VideoFrame.from_ndarray(image)
            picture.pts = index
            packets += stream.encode(picture)
        packets += stream.encode(None)
        for packet in packets:
            packet.pts += start * RATE
            packet.dts += start * RATE
        sound_start = start if sound_start is None else sound_start
        sounds = list(sine_packets(track, num_frames / RATE))
        for packet in sounds:
            packet.pts += sound_start * 44100
            packet.dts += sound_start * 44100
        for packet in [*packets, *sounds]:
            container.mux(packet)
    return path


def join(path, parts):
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def read(path, with_sound=True):
    """Times of the frames, (time, data) of the sound, and the reader."""
    reader = VideoReader(path, with_sound=with_sound)
    times, sound = [], []
    for item in reader:
        if isinstance(item, Frame):
            times.append(item.time)
        else:
            sound.append((float(reader.seconds(item)), bytes(item)))
    reader.close()
    return times, sound, reader


@given(
    parts=st.lists(
        st.tuples(st.integers(4, 14), st.sampled_from([0, 1, 7, 100, 5000])), min_size=2, max_size=4
    )
)
@settings(max_examples=5, deadline=None)
def test_joined_parts_follow_each_other(tmp_path_factory, parts):
    """Whatever time stamps they begin with, unless a part seems to be a pause of the one before."""
    folder = tmp_path_factory.mktemp("parts")
    starts = [start for _, start in parts]
    files = [write_part(folder / f"{i}.ts", n, start) for i, (n, start) in enumerate(parts)]
    pairs = list(pairwise(starts))
    is_pause = [0 < after - before < 10 for before, after in pairs]
    times, sound, reader = read(join(folder / "all.ts", files))
    assert reader.timeline.sound_jumps == []
    assert len(reader.timeline.jumps) == is_pause.count(False)
    steps = [after - before for before, after in pairwise(times)]
    pauses = [step for step in steps if step != pytest.approx(1 / RATE, abs=0.002)]
    assert len(times) == sum(n for n, _ in parts)
    assert len(pauses) == is_pause.count(True)
    assert all(after[0] > before[0] for before, after in pairwise(sound))
    assert sound[-1][0] == pytest.approx(times[-1], abs=0.1)


@pytest.mark.parametrize("suffix", ["ts", "vob", "mpg"])
@pytest.mark.parametrize("start", [0, 200])
def test_sound_keeps_in_step_with_the_video_of_its_part(tmp_path, suffix, start):
    """A file joined with itself; the same packets of sound are at the same distance."""
    sound = "aac" if suffix == "ts" else "ac3"
    part = write_part(tmp_path / f"a.{suffix}", 30, start, sound=sound)
    times, packets, reader = read(join(tmp_path / f"b.{suffix}", [part, part]))
    assert len(times) == 60
    assert times[30] - times[0] == pytest.approx(30 / RATE, abs=0.001)
    counts = Counter(data for _, data in packets)
    places = {}
    for time, data in packets:
        if counts[data] == 2:
            places.setdefault(data, []).append(time)
    assert len(places) > 5
    for first, second in places.values():
        assert second - first == pytest.approx(30 / RATE, abs=0.001)
    assert len(reader.notes) == 1
    assert "joined on at 0:00:01.2" in reader.notes[0]


@pytest.mark.parametrize("suffix", ["vob", "ts"])
@pytest.mark.parametrize("starts", [(300, 0), (0, 300), (95443, 20)])
def test_jumps_by_minutes_in_both_directions(tmp_path, suffix, starts):
    """Also from near the end of the range of time stamps, 26.5 hours."""
    files = [write_part(tmp_path / f"{start}.{suffix}", 12, start, sound="ac3") for start in starts]
    times, sound, reader = read(join(tmp_path / f"a.{suffix}", files))
    assert [b - a for a, b in pairwise(times)] == pytest.approx([1 / RATE] * 23, abs=0.001)
    assert len(reader.timeline.jumps) == 1
    assert reader.timeline.sound_jumps == []
    assert sound[-1][0] == pytest.approx(times[-1], abs=0.1)


def test_a_joined_video_is_written_whole(tmp_path):
    part = write_video(
        tmp_path / "a.ts", moving_square(12), "libx264", sound="aac", options={"bf": "2"}
    )
    source = join(tmp_path / "b.ts", [part, part])
    for keep_sound in (True, False):
        output = tmp_path / "out.mp4"
        options = VideoOptions(render="pixelate", keep_sound=keep_sound)
        result = process_video(find_red, source, output, options, show_progress=False)
        assert sum("joined on at 0:00:00." in note for note in result.notes) == 1
        times, _ = read_frames(output)
        steps = [after - before for before, after in pairwise(times)]
        assert steps == pytest.approx([1 / RATE] * 23, abs=0.001)
        lines = [json.loads(x) for x in result.lines.read_text().splitlines()]
        assert [x["time"] for x in lines] == pytest.approx(times, abs=0.002)


def test_sound_that_jumps_alone_is_named(tmp_path):
    """It follows on itself, as nobody knows where it belongs."""
    files = [
        write_part(tmp_path / "a.ts", 20, 20),
        write_part(tmp_path / "b.ts", 200, 20 + 20 / RATE, sound_start=3),
    ]
    source = join(tmp_path / "c.ts", files)
    options = VideoOptions(render="blur")
    with pytest.raises(DamagedVideoError, match="sound jump without the video's at 0:00:00"):
        process_video(find_red, source, tmp_path / "out.mp4", options, show_progress=False)
    times, _ = read_frames(tmp_path / "out.mp4")
    assert len(times) == 220
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.audio[0]
        stamps = [float(x.pts * x.time_base) for x in container.demux(stream) if x.size]
    assert stamps[-1] == pytest.approx(times[-1], abs=0.2)


def test_a_pause_of_the_sound_is_no_jump(tmp_path):
    files = [
        write_part(tmp_path / "a.ts", 20, 20),
        write_part(tmp_path / "b.ts", 50, 20 + 20 / RATE, sound_start=22),
    ]
    _, sound, reader = read(join(tmp_path / "c.ts", files))
    assert reader.timeline.jumps == reader.timeline.sound_jumps == []
    assert max(b[0] - a[0] for a, b in pairwise(sound)) > 1
