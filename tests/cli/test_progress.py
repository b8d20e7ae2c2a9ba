"""Lines of ``srn-d2 detect`` on what is done, and on what failed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srn_d2.cli.journal import DAMAGED_VIDEO, Result
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


def test_a_video_that_was_done_in_part_is_not_just_failed(caplog):
    source = Source(Path("/a.mp4"), Path("a.mp4"), Path("a"))
    record = {"file_name": "/a.mp4", "error": "/a.mp4: it ends at 2.00 s"}
    Reporter().report(Result.of(source, record, DAMAGED_VIDEO))
    assert caplog.messages == ["/a.mp4 is damaged, what it has is done: it ends at 2.00 s"]
