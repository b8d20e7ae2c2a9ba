"""The files behind the arguments of ``srn-d2 detect``."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.video_files import write_container
from srn_d2 import cli
from srn_d2.cli.junk import JUNK_FILES, JUNK_FOLDERS
from srn_d2.cli.sources import Source, distinct_stems, find_sources, search
from srn_d2.cli.video.containers import keep_containers
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
    assert names_of(find_sources(["in/notes.txt"], out)) == ["notes.txt.png"]


def test_what_was_written_before_is_no_input(tmp_path, monkeypatch, caplog):
    (tmp_path / "found").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "found" / "a.jpg").touch()
    monkeypatch.chdir(tmp_path)
    for pattern in (".", f"../{tmp_path.name}"):
        caplog.clear()
        with caplog.at_level("INFO", logger="srn_d2.cli"):
            assert names_of(find_sources([pattern], Path("found"))) == ["a.jpg"]
        # It may be a folder of the user's own.
        assert caplog.messages == [
            f"{tmp_path / 'found'} is passed over: it is the output folder: what is in it is no "
            "input"
        ]
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


def test_inputs_are_never_overwritten(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"a\.jpg would be overwritten"):
        find_sources([str(tmp_path / "a.jpg")], tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").touch()
    both = [str(tmp_path / "a.jpg"), str(tmp_path / "sub" / "a.jpg")]
    with pytest.raises(ValueError, match=r"sub.a\.jpg would be overwritten"):
        find_sources(both, tmp_path / "sub")


SUFFIXES = (".mkv", ".mp4", ".MP4", ".heic", ".jpg", ".tga", ".png")


@given(
    stems=st.lists(st.lists(st.sampled_from(SUFFIXES), min_size=1, max_size=4), max_size=12),
    keeps=st.booleans(),
    data=st.data(),
)
def test_each_output_has_a_name_of_its_own_in_any_order(tmp_path_factory, stems, keeps, data):
    folder = tmp_path_factory.mktemp("in")
    names = sorted({"b" + "".join(parts) for parts in [[".png"], *stems]})
    for name in names:
        (folder / name).touch()

    def outputs_of(order):
        sources = find_sources([str(folder / name) for name in order], folder / "out")
        sources = keep_containers(sources, folder / "out") if keeps else sources
        return {source.path.name: source.name.name for source in sources}

    outputs = outputs_of(data.draw(st.permutations(names)))
    assert outputs == outputs_of(names)
    assert len(set(outputs.values())) == len(names)
    for name, output in outputs.items():
        assert output.startswith(name)
        # Those that keep their format keep their names, whatever else there is.
        if name.endswith((".jpg", ".png", ".mp4")):
            assert output == name


def test_both_of_two_inputs_for_one_name_are_done(tmp_path):
    for name in ("b.mkv", "b.mkv.mp4", "q.heic", "q.heic.jpg"):
        (tmp_path / name).touch()
    sources = find_sources([str(tmp_path)], tmp_path / "out")
    assert names_of(sources) == ["b.mkv.mp4.mp4", "b.mkv.mp4", "q.heic.jpg.jpg", "q.heic.jpg"]


@given(names=st.sets(st.lists(st.sampled_from(SUFFIXES), min_size=1, max_size=3).map(tuple)))
def test_each_picture_has_a_stem_of_its_own(names):
    paths = [Path("/in") / ("a" + "".join(parts)) for parts in sorted(names)]
    sources = [Source(x, Path(x.name), Path(x.name).with_suffix("")) for x in paths]
    found = [x.stem for x in distinct_stems(sources) if not x.is_video]
    assert len(set(found)) == len(found)
    if len(found) == 1:
        assert found == [source.stem for source in sources if not source.is_video]


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


def save(path, file_format="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12)).save(path, file_format)


def test_all_formats_are_found_and_named_for_what_holds_them(tmp_path):
    outputs = {
        **{f"a.{suffix}": f"a.{suffix}" for suffix in ("jpg", "jfif", "jpe", "mpo", "png", "apng")},
        **{f"a.{suffix}": f"a.{suffix}" for suffix in ("gif", "avif", "webp", "bmp", "tif")},
        **{f"a.{suffix}": f"a.{suffix}.jpg" for suffix in ("heic", "hif", "jp2")},
        **{f"a.{suffix}": f"a.{suffix}.png" for suffix in ("pgm", "tga", "psd", "ico", "qoi")},
        **{"noext": "noext.png", "wrong.txt": "wrong.txt.png"},
        **{name: f"{name}.png" for name in ("BMP", "PPM", "ICO")},
    }
    for name in outputs:
        save(tmp_path / name, name if name.isupper() else "PNG")
    found = search([str(tmp_path)], tmp_path / "out")
    assert {str(s.path.name): str(s.name) for s in found.sources} == outputs
    assert found.passed_over == []


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.nef", b"II*\0", "raw"),
        ("a.svg", b"<svg/>", "drawing"),
        ("a.eps", b"%!PS", "drawing"),
        ("a.jxl", b"\xff\x0a", "JPEG XL"),
        ("a.rmvb", b".RMF", "video of a format that is not read"),
        ("clip", b"\0\0\0\x18ftypisom", "seems to be a video"),
        ("clip.bak", b"\x1aE\xdf\xa3", "seems to be a video"),
        ("clip.rec", 3 * (b"G" + bytes(187)), "seems to be a video"),
        ("clip.mts.1", 3 * (bytes(4) + b"G" + bytes(187)), "seems to be a video"),
        ("clip.old", b"\0\0\0\x08wide\0\0/\x19mdat", "seems to be a video"),
        ("clip.dat", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"), "seems to be a video"),
        ("clip.dvr", bytes.fromhex("060e2b34020501010d01020101"), "seems to be a video"),
        ("clip.ogg", b"OggS\0\2" + bytes(22) + b"\x80theora", "seems to be a video"),
    ],
)
def test_what_looks_like_a_picture_or_video_is_named(tmp_path, name, content, problem):
    (tmp_path / name).write_bytes(content + bytes(100))
    for argument in (tmp_path, tmp_path / name):
        [source] = find_sources([str(argument)], tmp_path / "out")
        assert problem in source.problem
        assert not source.is_video


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, b"words" * 20) for name in ("a.txt", "a.json", "a.pdf", "run.fit")),
        ("GGG.txt", b"G" * 300),
        ("song.mka", b"\x1aE\xdf\xa3"),
        ("song.m4a", b"\0\0\0\x18ftypM4A "),
        ("song.wma", bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")),
        ("song.ogg", b"OggS\0\2" + bytes(22) + b"\x01vorbis"),
    ],
)
def test_other_files_are_none(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    save(tmp_path / "b.png")
    assert names_of(find_sources([str(tmp_path)], tmp_path / "out")) == ["b.png"]


def test_linked_folders_are_followed_once(tmp_path):
    save(tmp_path / "in" / "sub" / "a.png")
    save(tmp_path / "elsewhere" / "b.png")
    save(tmp_path / "elsewhere" / "deeper" / "c.png")
    for name, target in (
        ("1", "../elsewhere"),
        ("2", "../elsewhere"),
        ("again", "sub"),
        ("loop", "."),
        ("up", ".."),
        ("out", "../out"),
    ):
        os.symlink(target, tmp_path / "in" / name)
    os.symlink("../in/sub", tmp_path / "elsewhere" / "back")
    (tmp_path / "out").mkdir()
    found = search([str(tmp_path / "in")], tmp_path / "out")
    assert names_of(found.sources) == ["1/b.png", "1/deeper/c.png", "sub/a.png"]
    reasons = {item.path.relative_to(tmp_path / "in"): item.problem for item in found.passed_over}
    assert {str(path) for path in reasons} == {"1/back", "2", "again", "loop", "up", "out"}
    assert "this one is in" in reasons[Path("up")]


def test_links_that_lead_nowhere_are_named(tmp_path):
    for name in ("a.jpg", "b.mp4", "notes.txt", "folder"):
        os.symlink("absent", tmp_path / name)
    sources = find_sources([str(tmp_path)], tmp_path / "out")
    assert [source.path.name for source in sources] == ["a.jpg", "b.mp4"]
    assert all("leads nowhere" in source.problem for source in sources)
    assert {source.kind for source in sources} == {"link that leads nowhere"}


def test_folders_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    save(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    scandir = os.scandir

    def scan(folder):
        if Path(folder).name == "sub":
            raise PermissionError(13, "Permission denied", folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scan)
    first, second = find_sources([str(tmp_path)], tmp_path / "out")
    assert first.problem is None
    assert second.problem == "the folder cannot be read: permission denied"
    assert second.kind == "folder that cannot be read"


def test_junk_is_passed_over(tmp_path):
    save(tmp_path / "a.png")
    for name in ("._a.png", ".trashed-17-a.png", ".a.4711.partial.png"):
        save(tmp_path / name)
    for folder in (".thumbnails", ".Trash-1000", "@eaDir", "$RECYCLE.BIN", "__MACOSX"):
        save(tmp_path / folder / "deep" / "a.png")
    found = search([str(tmp_path)], tmp_path / "out")
    assert names_of(found.sources) == ["a.png"]
    assert len(found.passed_over) == 8
    # Whoever names one wants it.
    assert names_of(find_sources([str(tmp_path / ".thumbnails")], tmp_path / "out")) == [
        "deep/a.png"
    ]
    assert names_of(find_sources([str(tmp_path / "._a.png")], tmp_path / "out")) == ["._a.png"]
    # A glob does not.
    assert names_of(find_sources([str(tmp_path / "*")], tmp_path / "out")) == ["a.png"]


def test_junk_that_a_glob_matches_is_listed(tmp_path):
    for name in ("a.png", ".d.png", "._a.png", "@eaDir/b.png", "sub/@eaDir/c.png"):
        save(tmp_path / "in" / name)
    folder = tmp_path / "in"

    def names_in(*patterns):
        found = search([str(folder / pattern) for pattern in patterns], tmp_path / "out")
        passed_over = [str(item.path.relative_to(folder)) for item in found.passed_over]
        return names_of(found.sources), sorted(passed_over)

    assert names_in(".*.png") == ([".d.png"], ["._a.png"])
    assert names_in("*") == (["a.png"], ["@eaDir", "sub/@eaDir"])
    assert names_in("**/*.png") == (["a.png"], ["@eaDir", "sub/@eaDir"])
    # Whoever names one wants it, in any order.
    for patterns in ([".*.png", "*", "._a.png", "@eaDir"], ["@eaDir", "._a.png", "*", ".*.png"]):
        names, passed_over = names_in(*patterns)
        assert sorted(names) == ["._a.png", ".d.png", "@eaDir/b.png", "a.png"]
        assert passed_over == ["sub/@eaDir"]
    with pytest.raises(FileNotFoundError, match=r"all is passed over, such as .*\._a\.png"):
        names_in("._*")


def test_help_has_the_list_of_junk(capsys):
    with pytest.raises(SystemExit):
        cli.main(["detect", "--help"])
    text = capsys.readouterr().out
    assert all(f" {pattern}" in text for pattern in (*JUNK_FILES, *JUNK_FOLDERS))


def test_folders_that_a_glob_finds_are_searched(tmp_path):
    for name in ("x/1/a.png", "x/2/b.png", "x/c.png", "x/empty/notes.txt"):
        save(tmp_path / name)
    (tmp_path / "x" / "empty" / "notes.txt").write_text("words")
    sources = find_sources([str(tmp_path / "x" / "*")], tmp_path / "out")
    assert names_of(sources) == ["1/a.png", "2/b.png", "c.png"]
    both = find_sources([str(tmp_path), str(tmp_path / "x" / "1")], tmp_path / "out")
    assert len(both) == 3


@pytest.mark.parametrize(
    "address", ["https://example.org/a.jpg", "rtsp://camera/1", "S3://b/c.png"]
)
def test_addresses_are_not_read(tmp_path, address):
    with pytest.raises(ValueError, match="addresses are not read"):
        find_sources([address], tmp_path / "out")


def test_nothing_that_fits_is_listed(tmp_path):
    for name in ("a.txt", "b.TXT", "c.json", "noext"):
        (tmp_path / name).write_text("words")
    save(tmp_path / "._a.png")
    with pytest.raises(FileNotFoundError) as caught:
        find_sources([str(tmp_path)], tmp_path / "out")
    message = str(caught.value)
    for part in ("2 .txt", "1 .json", "1 no suffix", "1 passed over, such as ._a.png"):
        assert part in message


def test_fallback_names_are_only_those_that_are_free(tmp_path):
    save(tmp_path / "a.jpg")
    [source] = find_sources([str(tmp_path)], tmp_path / "out")
    assert [str(path) for path in source.fallbacks] == ["a.jpg.png", "a.jpg.tif"]
    save(tmp_path / "a.jpg.png")
    source, other = find_sources([str(tmp_path)], tmp_path / "out")
    assert source.fallbacks == []
    assert other.fallbacks


def test_list_names_everything_and_does_nothing(tmp_path, capsys):
    save(tmp_path / "in" / "a.heif")
    save(tmp_path / "in" / ".thumbnails" / "a.png")
    arguments = ["detect", str(tmp_path / "in"), "--list", "--output", str(tmp_path / "out")]
    assert cli.main(arguments) == 0
    (tmp_path / "in" / "a.svg").touch()
    assert cli.main(arguments) == 1
    lines = capsys.readouterr().out.splitlines()[-4:]
    assert lines[0].endswith(f"a.heif -> {tmp_path / 'out' / 'a.heif.jpg'}")
    assert "a.svg: not done: a drawing" in lines[1]
    assert ".thumbnails: passed over: a folder of thumbnails" in lines[2]
    assert lines[3] == "1 to do, 1 not, 1 passed over"
    assert not (tmp_path / "out").exists()
    assert cli.main(["detect", str(tmp_path / "absent"), "--list"]) == 2
    with pytest.raises(SystemExit):
        cli.main(["detect", "--webcam", "--list"])
    assert "--list is of inputs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "line"),
    [("--copy-codec", "a.avi -> {}/a.avi.mkv"), ("--no-pictures", "a.avi: its faces only")],
)
def test_list_names_what_the_options_write(tmp_path, capsys, option, line):
    path, output = write_container(tmp_path / "a.avi", num_frames=2), tmp_path / "out"
    assert cli.main(["detect", str(path), "--list", option, "--output", str(output)]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(line.format(output))
