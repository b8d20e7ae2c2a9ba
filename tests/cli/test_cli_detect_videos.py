"""``srn-d2 detect`` on videos, with random weights."""

import json

import av
import pytest

from helpers.detect_files import check_faces, files_below, save_image, save_video
from helpers.video_files import cut, read_frames, write_container
from srn_d2 import cli
from srn_d2.cli.video.writer import VideoWriter


def test_a_pixelated_video_and_max_frames(detect, tmp_path):
    status, messages = detect(save_video(tmp_path / "a.mp4"), "--pixelate", "--max-frames", 2)
    assert status == 0, messages
    names = set(files_below(tmp_path / "out")) - {"a.mp4.gaps.json"}  # random weights lose faces
    assert names == {"a.mp4", "a.mp4.jsonl"}
    assert len(read_frames(tmp_path / "out" / "a.mp4")[0]) == 2


def test_of_a_truncated_video_what_is_there_is_written(detect, tmp_path):
    half = cut(write_container(tmp_path / "cut.mkv", "MJPG", 20), 0.5)
    good, output = save_video(tmp_path / "good.mp4"), tmp_path / "out"
    num_frames = len(read_frames(half)[0])
    assert 2 < num_frames < 15
    status, messages = detect(half, good)
    assert status == 1
    assert "cut.mkv is damaged, what it has is done: it ends at 0." in messages
    assert "1 of 2 inputs failed: 1 damaged video, done as far as it can be read" in messages
    assert "faces in" not in messages  # there is no picture
    assert f"of 0.80 s by its header, after {num_frames} frames" in messages
    names = ["cut.mkv.mp4", "good.mp4"]
    assert files_below(output) == sorted([*names, *[f"{n}.jsonl" for n in names], "faces.json"])
    assert len(read_frames(output / "cut.mkv.mp4")[0]) == num_frames
    assert len((output / "cut.mkv.mp4.jsonl").read_text().splitlines()) == num_frames
    [record] = json.loads((output / "faces.json").read_text())
    assert record["file_name"] == str(half)
    assert "truncated" in record["error"]


def test_joined_recordings_are_done_and_said(detect, tmp_path):
    part = write_container(tmp_path / "a.ts", "mpg2", 8).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    status, messages = detect(tmp_path / "joined.ts", "--blur")
    assert status == 0, messages
    assert messages.count("the time stamps jump; what follows was joined on at 0:00:00.32") == 1
    times, _ = read_frames(tmp_path / "out" / "joined.ts.mp4")
    assert times == pytest.approx([index / 25 for index in range(16)], abs=0.001)


def test_a_truncated_video_matters_only_if_its_end_is_wanted(detect, tmp_path):
    half = cut(write_container(tmp_path / "cut.mkv", "MJPG", 20), 0.5)
    status, messages = detect(half, "--no-pictures", "--max-frames", 2)
    assert status == 0, messages
    status, messages = detect(half, "--no-pictures", "--max-frames", 18)
    assert status == 1
    assert "of 0.80 s" in messages


def test_all_kinds_of_videos_in_a_folder(detect, tmp_path):
    (tmp_path / "in").mkdir()
    codecs = {"a.WMV": "WMV2", "b.flv": "FLV1", "c.ts": "mp4v", "d.3gp": "mp4v", "e.mts": "mp4v"}
    for name, codec in codecs.items():
        write_container(tmp_path / "in" / name, codec, 8)
    status, messages = detect(tmp_path / "in", "--no-pictures", "--max-frames", 2)
    assert status == 0, messages
    assert files_below(tmp_path / "out") == [f"{name}.mp4.jsonl" for name in codecs]
    for path in (tmp_path / "out").iterdir():
        assert len(path.read_text().splitlines()) == 2


def test_ctrl_c_keeps_what_is_done_and_no_half_video(detect, tmp_path, monkeypatch):
    picture, output = save_image(tmp_path / "a.jpg"), tmp_path / "out"
    video = save_video(tmp_path / "clip.mp4", 4)
    written = []

    def interrupt_at_second_frame(self, picture, pixel_aspect):
        written.append(picture)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "write", interrupt_at_second_frame)
    status, _ = detect(picture, video)
    assert status == 130
    assert files_below(output) == ["a.jpg", "faces.json"]
    [record] = json.loads((output / "faces.json").read_text())
    check_faces(record["faces"], 64, 96)


def test_options_of_videos(detect, tmp_path):
    video = save_video(tmp_path / "a.mkv", 6)
    status, messages = detect(video, "--blur", "--hide-neighbours", 1, "--video-codec", "vp9")
    assert status == 0, messages
    status, messages = detect(video, "--pixelate", "--copy-codec", "--fill-gaps", 0)
    assert status == 0, messages
    codecs = {}
    for name in ("a.mkv.mp4", "a.mkv"):
        with av.open(str(tmp_path / "out" / name)) as container:
            codecs[name] = container.streams.video[0].codec_context.codec.canonical_name
    assert codecs == {"a.mkv.mp4": "vp9", "a.mkv": "mpeg4"}


def test_own_containers_overwrite_no_input(detect, tmp_path):
    save_video(tmp_path / "out" / "a.mkv")
    save_video(tmp_path / "a.mkv")
    before = (tmp_path / "out" / "a.mkv").read_bytes()
    status, messages = detect(tmp_path / "a.mkv", tmp_path / "out" / "a.mkv", "--copy-codec")
    assert status == 2
    assert "would be overwritten" in messages or "Two inputs" in messages
    assert (tmp_path / "out" / "a.mkv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--margin", "0.2"], "--margin needs --blur or --pixelate"),
        (["--hide-neighbours", "1"], "--hide-neighbours needs"),
        (["--fill-gaps", "3", "--no-pictures"], "--fill-gaps needs"),
        (["--no-pictures", "--crf", "20"], "--crf has no use with --no-pictures"),
        (["--no-pictures", "--no-audio"], "--no-audio has no use"),
        (["--crf", "52", "--video-codec", "h264"], "largest value is 51"),
        (["--blur", "--margin", "-1"], "not a number from 0 on"),
        (["--blur", "--fill-gaps", "x"], "invalid"),
        (["--video-codec", "mpeg4"], "invalid choice"),
        (["--video-codec", "av1", "--copy-codec"], "not allowed with"),
    ],
)
def test_options_without_use_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit):
        cli.main(["detect", "a.mp4", *arguments])
    assert message in capsys.readouterr().err
