"""Lines of ``srn-d2 detect`` on what is done, and on what failed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srn_d2.cli.journal import DAMAGED_VIDEO, Result
from srn_d2.cli.leftovers import with_leftovers_named
from srn_d2.cli.printing import without_path
from srn_d2.cli.progress import Progress, Reporter, Summary
from srn_d2.cli.sources import Source


@pytest.mark.parametrize(
    ("done", "seconds", "rate"),
    [(20, 10, "2.0 a second"), (2, 100, "1.2 a minute"), (1, 100, "36.0 an hour")],
)
def test_slow_progress_is_told_by_longer_times(done, seconds, rate):
    progress = Progress(100, 0, is_shown=False)
    for _ in range(done):
        progress.update()
    assert progress.line(seconds).startswith(f"{done} of 100 inputs, {rate}, ")


@pytest.mark.parametrize(
    ("total", "line"),
    [
        (100, "a.mp4: 20 of 100 frames, 2.0 a second, 00:40 left"),
        (None, "a.mp4: 20 frames, 2.0 a second"),
        (19, "a.mp4: 20 frames, 2.0 a second"),  # by a header that is wrong
    ],
)
def test_progress_of_a_video(total, line):
    progress = Progress(total, is_shown=False, unit="frame", name="a.mp4")
    for _ in range(20):
        progress.update()
    assert progress.line(10) == line


@pytest.mark.parametrize(
    ("summary", "line"),
    [
        (Summary(num_pictures=1, num_faces=1), "1 face in 1 file: out"),
        (Summary(num_pictures=2, num_faces=0), "0 faces in 2 files: out"),
        (Summary(num_videos=2), ""),
    ],
)
def test_the_last_line(caplog, summary, line):
    with caplog.at_level("INFO", logger="srn_d2.cli"):
        summary.log("out")
    assert caplog.messages == ([line] if line else [])


@given(
    name=st.text(min_size=1, max_size=8).filter(lambda name: "/" not in name and "\0" not in name)
)
def test_a_path_is_named_once(name):
    path = f"/in/{name}"
    rest = "cannot be decoded: it is cut"
    assert without_path(f"{path} {rest}", path) == f"it {rest}"
    assert without_path(f"The video {path} {rest}", path) == f"it {rest}"
    assert without_path(f"{path}: {rest}", path) == rest
    assert without_path(f"{path}, frame 2 {rest}", path) == f"frame 2 {rest}"
    assert without_path(rest, path) == rest


def test_errors_name_what_earlier_runs_left(tmp_path):
    for name in ("a.mp4", "b.jpg", "b.jpg.png", "c.heic.jpg", "d.mp4", "e.mp4.png", "f.svg.png"):
        (tmp_path / name).touch()

    def source(name, output, problem=None):
        return Source(Path("/in", name), Path(output), Path(name).with_suffix(""), problem)

    written, damaged = source("c.heic.jpg", "c.heic.jpg"), source("d.mp4", "d.mp4")
    failed = [
        source("a.mp4", "a.mp4"),
        source("b.jpg", "b.jpg"),
        source("c.heic", "c.heic.jpg", "needs pillow-heif"),  # its name is another's
        source("e.mp4", "e.mp4"),
        source("f.svg", "f.svg.png", "a drawing"),
    ]
    results = [Result.of(written, {}, written=[written.name])]
    results += [Result.of(damaged, {"error": "cut"}, DAMAGED_VIDEO)]
    results += [Result.of(x, {"error": "bad"}, "cannot be decoded") for x in failed]
    sources = [written, damaged, *failed]
    named = list(with_leftovers_named(results, sources, tmp_path))
    assert named[:2] == results[:2]
    assert [x.record["error"] for x in named[2:]] == [
        "bad; a.mp4 in the output folder is of an earlier run",
        "bad; b.jpg and b.jpg.png in the output folder are of an earlier run",
        "bad",
        "bad",
        "bad; f.svg.png in the output folder is of an earlier run",
    ]


def test_a_video_that_was_done_in_part_is_not_just_failed(caplog):
    source = Source(Path("/a.mp4"), Path("a.mp4"), Path("a"))
    record = {"file_name": "/a.mp4", "error": "/a.mp4: it ends at 2.00 s"}
    Reporter().report(Result.of(source, record, DAMAGED_VIDEO))
    assert caplog.messages == ["/a.mp4 is damaged, what it has is done: it ends at 2.00 s"]
