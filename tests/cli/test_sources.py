"""The files behind the arguments of ``srn-d2 detect``."""

from pathlib import Path

import pytest

from helpers.video_files import write_container
from srn_d2.cli.sources import find_sources
from srn_d2.cli.video.suffixes import VIDEO_SUFFIXES


def names_of(sources):
    return [str(source.name) for source in sources]


def test_folders_globs_and_files_become_sources_in_order(tmp_path, monkeypatch):
    for name in ("in/b.jpg", "in/a.PNG", "in/sub/c.mp4", "in/notes.txt", "other/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    assert names_of(find_sources(["in"], out)) == ["a.PNG", "b.jpg", "sub/c.mp4"]
    assert names_of(find_sources(["in/**/*.[jm]p*"], out)) == ["b.jpg", "sub/c.mp4"]
    assert names_of(find_sources(["in/b.jpg", "in", "in/b.jpg"], out))[0] == "b.jpg"
    assert len(find_sources(["in/b.jpg", "in", "in/b.jpg"], out)) == 3
    both = find_sources(["other", "in"], out)
    assert names_of(both) == ["other/d.jpg", "in/a.PNG", "in/b.jpg", "in/sub/c.mp4"]
    assert [source.is_video for source in both] == [False, False, False, True]
    # A file that is named counts whatever its suffix: its bytes tell its format.
    assert names_of(find_sources(["in/notes.txt"], out)) == ["notes.txt.jpg"]


def test_what_was_written_before_is_no_input(tmp_path, monkeypatch):
    (tmp_path / "found").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "found" / "a.jpg").touch()
    monkeypatch.chdir(tmp_path)
    for pattern in (".", f"../{tmp_path.name}"):
        assert names_of(find_sources([pattern], Path("found"))) == ["a.jpg"]
    for pattern in ("found", "../" + tmp_path.name + "/found"):
        with pytest.raises(ValueError, match="is the output folder"):
            find_sources([pattern], Path("found"))


def test_what_is_written_stays_below_the_output(tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    (tmp_path / "other").mkdir()
    for name in ("cwd/a.jpg", "other/b.jpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "cwd")
    sources = find_sources(["../other/b.jpg", "../other/*", "a.jpg"], Path("out"))
    assert names_of(sources) == ["other/b.jpg", "cwd/a.jpg"]


def test_inputs_are_never_overwritten_nor_outputs_twice(tmp_path):
    for name in ("a.jpg", "x.tif", "x.tif.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"a\.jpg would be overwritten"):
        find_sources([str(tmp_path / "a.jpg")], tmp_path)
    with pytest.raises(ValueError, match=r"x\.tif\.jpg: do one"):
        find_sources([str(tmp_path / "x.t*")], tmp_path / "out")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").touch()
    both = [str(tmp_path / "a.jpg"), str(tmp_path / "sub" / "a.jpg")]
    with pytest.raises(ValueError, match=r"sub.a\.jpg would be overwritten"):
        find_sources(both, tmp_path / "sub")


@pytest.mark.parametrize("pattern", ["absent.jpg", "*.jpg", "empty"])
def test_a_pattern_that_names_nothing_is_an_error(tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        find_sources([pattern], Path("out"))
    assert pattern in str(caught.value)


def test_each_suffix_of_a_video_is_found(tmp_path):
    for suffix in VIDEO_SUFFIXES:
        (tmp_path / f"clip{suffix}").touch()
    sources = find_sources([str(tmp_path)], tmp_path / "out")
    assert len(sources) == len(VIDEO_SUFFIXES)
    assert all(source.is_video and source.name.suffix == ".mp4" for source in sources)


def test_typescript_in_a_folder_is_no_video(tmp_path):
    (tmp_path / "main.ts").write_text('import { faces } from "./faces";\n' * 20)
    write_container(tmp_path / "clip.ts", num_frames=2)
    [source] = find_sources([str(tmp_path)], tmp_path / "out")
    assert source.path.name == "clip.ts"
    # Whoever names a file wants to hear that it is none.
    [source] = find_sources([str(tmp_path / "main.ts")], tmp_path / "out")
    assert source.is_video
