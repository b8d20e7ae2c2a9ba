"""Files that are there whole or not at all."""

from contextlib import ExitStack

import pytest

from srn_d2.atomic_file import atomic_path, remove_drafts


def test_the_file_appears_at_the_end_and_in_a_new_folder(tmp_path):
    path = tmp_path / "new" / "picture.png"
    with atomic_path(path) as draft:
        draft.write_text("half")
        assert not path.exists()
        assert draft.suffix == path.suffix
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


def test_a_name_of_the_greatest_length(tmp_path):
    path = tmp_path / ("é" * 125 + ".jpg")  # 254 of 255 bytes
    with atomic_path(path) as draft:
        draft.write_text("whole")
    assert list(tmp_path.iterdir()) == [path]


def test_files_of_similar_names_are_written_at_the_same_time(tmp_path):
    paths = [tmp_path / f"{'x' * 60}_{number}.jpg" for number in range(3)]
    with ExitStack() as stack:
        for path in (*paths, paths[0]):  # one of them twice
            stack.enter_context(atomic_path(path)).write_text(path.name)
    assert {path: path.read_text() for path in tmp_path.iterdir()} == {
        path: path.name for path in paths
    }


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "faces.json"
    path.write_text("old")

    def write_half():
        with atomic_path(path) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_before_anything_is_written_is_the_one_raised(tmp_path):
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "faces.json"):
        1 / 0  # noqa: B018


def test_a_folder_as_target_is_refused_by_its_name(tmp_path):
    folder = tmp_path / "found"
    folder.mkdir()
    with pytest.raises(IsADirectoryError) as error, atomic_path(folder):
        raise AssertionError("the context was entered")
    assert error.value.filename == str(folder)
    assert error.value.filename2 is None
    assert list(tmp_path.iterdir()) == [folder]


def test_only_drafts_are_removed(tmp_path):
    """Not the unfinished transfers of other programs."""
    for name in (".film.x1.partial.mkv", ".notes.old.partial", ".a.b.partial.d/photo.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "sub").mkdir()
    kept = sorted(tmp_path.rglob("*"))
    drafts = []
    for name in ("a.jpg", "sub/no suffix", "x" * 60 + ".jsonl", "line\nbreak.mp4", ".hidden"):
        with atomic_path(tmp_path / name) as draft:
            draft.touch()
        (tmp_path / name).unlink()
        drafts.append(draft)
    for draft in drafts:
        draft.touch()
    remove_drafts(tmp_path)
    assert sorted(tmp_path.rglob("*")) == kept
