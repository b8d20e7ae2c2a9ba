"""Command lines that end with KEY VALUE pairs, former names of options."""

import argparse

import pytest

from srn_d2.cli.arguments import add_overrides, parse_command_line, split_overrides
from srn_d2.config import build_cfg

OLD_NAMES = {"--old": "--new"}


@pytest.fixture
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="*")
    parser.add_argument("--new", nargs="+", default=[])
    add_overrides(parser)
    return parser


@pytest.mark.parametrize(
    ("argv", "overrides"),
    [
        (["a", "--new", "1", "2"], []),
        (["a", "--new", "1", "2", "MODEL.DEVICE", "cpu"], ["MODEL.DEVICE", "cpu"]),
        (["--new", "1", "2", "--opts", "SEED", "3"], ["SEED", "3"]),
        (["a", "SEED", "3", "TEST.SRN_TTA.FLIP", ""], ["SEED", "3", "TEST.SRN_TTA.FLIP", ""]),
        (["a", "SEED", "-1", "--new", "b"], ["SEED", "-1", "--new", "b"]),
        (["a", "b", "--opts", "MODLE.DEVICE", "cpu"], ["MODLE.DEVICE", "cpu"]),
        (["IMG_1.JPG", "Model.weights", "TESTS.JPG"], []),
    ],
)
def test_pairs_at_the_end(parser, argv, overrides):
    args = parse_command_line(parser, argv)
    assert args.opts == overrides
    end = len(argv) - len(overrides)
    assert split_overrides(argv) == (argv[: end - ("--opts" in argv)], overrides)


def test_every_key_of_a_config_begins_the_pairs():
    keys = []

    def collect(node, prefix):
        for name, value in node.items():
            if hasattr(value, "items") and value:
                collect(value, f"{prefix}{name}.")
            else:
                keys.append(prefix + name)

    collect(build_cfg(), "")
    assert len(keys) > 200
    assert [key for key in keys if split_overrides(["a", key, "1"]) != (["a"], [key, "1"])] == []


def test_an_existing_file_or_folder_is_no_key(parser, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "TEST.JPG").touch()
    (tmp_path / "INPUT.2024").mkdir()
    args = parse_command_line(parser, ["TEST.JPG", "INPUT.2024", "b.jpg"])
    assert (args.files, args.opts) == (["TEST.JPG", "INPUT.2024", "b.jpg"], [])


def test_former_names_of_options(parser, capsys):
    for argv in (["--old", "x"], ["--old=x"], ["--new", "x"]):
        assert parse_command_line(parser, argv, OLD_NAMES).new == ["x"]
        note = "" if "--new" in argv else "note: --old is now --new\n"
        assert capsys.readouterr().err == note
    assert "--old" not in parser.format_help()


def test_a_command_without_a_config_refuses_pairs(capsys):
    with pytest.raises(SystemExit, match="2"):
        parse_command_line(argparse.ArgumentParser(), ["SEED", "3"])
    assert "unrecognized arguments: SEED 3" in capsys.readouterr().err


def test_help_names_the_pairs(parser):
    assert "KEY VALUE ...:" in parser.format_help()
