"""README.md and docs/: code blocks run or say why they do not, commands and names are right.

A block of bash or Python is run, unless the line before it is <!-- not run: REASON -->. Commands
of all blocks, and those between backticks in the text, are parsed by the programs that they call;
config files and keys that they name must exist.
"""

import os
import re
import shlex
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from PIL import Image

from helpers.markdown_commands import code_blocks, inline_code, shell_commands
from helpers.video_files import write_container

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "datasets" / "README.md",
    ROOT / "srn_d2" / "weights" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
LANGUAGES = ("bash", "python")

# Programs of others: their options are theirs.
FOREIGN = {"cd", "curl", "export", "git", "jupyter", "npm", "pip", "source", "tensorboard"}
# A script that a page tells the reader to write -> the script whose arguments it takes.
OF_THE_READER = {"train_my_faces.py": "train_net.py"}
# Words that stand for others in commands.
PLACEHOLDERS = {
    "$SLURM_NNODES": "2",
    "$SLURM_NODEID": "0",
    "COMMAND": "detect",
    "N": "1",
    "configs/CONFIG": "configs/srn_efflite0_full.yaml",
}
# Paths of the repository; others are of the reader.
OF_THE_REPOSITORY = ("configs", "docs", "findings", "srn_d2", "tests", "tools")

CONFIG_KEY = re.compile(r"[A-Z][A-Z0-9]*(\.[A-Z0-9_]+)+")
LINK = re.compile(r"\]\((?P<path>[^)#\s:]+)(#[^)\s]*)?\)")
MAKE_TARGET = re.compile(r"^(\w+):", re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path, is_run: bool) -> list:
    blocks = [block for block in code_blocks(page) if block.language in LANGUAGES]
    return [block for block in blocks if (block.reason is None) == is_run]


all_pages = pytest.mark.parametrize("page", PAGES, ids=name_of)
pages_with_code_to_run = pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks_of(page, is_run=True)], ids=name_of
)


@pytest.fixture(scope="module")
def reader_folder(tmp_path_factory) -> Path:
    """A clone of the repository with what the pages suppose: pictures, a video, boxes."""
    import matplotlib

    folder = tmp_path_factory.mktemp("reader")
    for name in ("configs", "srn_d2", "tools"):
        (folder / name).symlink_to(ROOT / name)
    portrait = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    (folder / "photo.jpg").symlink_to(portrait)
    rng = np.random.default_rng(0)
    for path in ("holiday/1.jpg", "holiday/2.jpg", "photos/party/1.jpg"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(folder / path)
    (folder / "photos" / "faces.csv").write_text("file,x,y,w,h\nparty/1.jpg,20,20,24,30\n")
    (folder / "others" / "tinaface").mkdir(parents=True)
    write_container(folder / "street.mp4", num_frames=3)
    return folder


@pytest.fixture
def reader(reader_folder, monkeypatch):
    """Works in ``reader_folder``; data sets that are registered there are forgotten."""
    monkeypatch.chdir(reader_folder)
    monkeypatch.syspath_prepend(str(ROOT))  # where train_net.py is
    known = set(DatasetCatalog)
    yield
    for name in set(DatasetCatalog) - known:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(scope="module")
def parse(load_tool) -> Callable:
    """Parse a command of this project as it does itself: a namespace, or None without arguments."""
    from srn_d2.cli import parse_args

    def parse_python(script: str, *arguments: str):
        if script == "-c":
            return None
        if script == "-m" and arguments[0] != "srn_d2.train":
            assert find_spec(arguments[0]), f"there is no module {arguments[0]}"
            return None
        if script == "-m":
            script, *arguments = ("train_net.py", *arguments[1:])
        script = OF_THE_READER.get(script, script)
        assert (ROOT / script).is_file(), f"there is no {script}"
        if script == "train_net.py":
            return default_argument_parser().parse_args(arguments)
        tool = load_tool(Path(script).stem)
        return tool.parse_args(arguments) if hasattr(tool, "parse_args") else None

    def parse_make(*arguments: str):
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        for argument in arguments:
            variable, is_assignment, value = argument.partition("=")
            if is_assignment:
                assert f"$({variable})" in makefile, f"the Makefile reads no {variable}"
            else:
                assert argument in MAKE_TARGET.findall(makefile), f"there is no make {argument}"
            if variable == "ARGS" and "compare" in arguments:
                parse_python("tools/compare_detectors.py", *shlex.split(value))

    def parse_command(words: list[str]):
        words = [PLACEHOLDERS.get(word, word) for word in words]
        while re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # the environment
            words = words[1:]
        program, *arguments = words
        if program == "srun":
            return parse_command(next(shell_commands(arguments[-1])))
        if program == "bash":
            assert (ROOT / arguments[0]).is_file(), f"there is no {arguments[0]}"
            return None
        if program == "srn-d2":
            return parse_args(arguments)
        if program == "python":
            return parse_python(*arguments)
        if program == "make":
            return parse_make(*arguments)
        assert program in FOREIGN, f"{program} is not known to this test"
        return None

    return parse_command


def check_command(words: list[str], parse: Callable) -> None:
    """Fail if an option, a config file or a config's key does not exist."""
    from srn_d2.config import build_cfg

    try:
        arguments = parse(words)
    except SystemExit as end:  # argparse has printed why
        if end.code:
            pytest.fail(shlex.join(words))
        return  # from --help
    config = getattr(arguments, "config_file", None) or ""
    if config.startswith(OF_THE_REPOSITORY):
        config = str(ROOT / config)
    elif "/" in config:  # a run has written it
        config = ""
    build_cfg(config, getattr(arguments, "opts", None))


@all_pages
def test_commands_of_blocks_exist(page, parse, reader):
    for block in code_blocks(page):
        if block.language == "bash":
            for words in shell_commands(block.text):
                check_command(words, parse)


@all_pages
def test_commands_in_the_text_exist(page, parse):
    for code in inline_code(page):
        if re.match(r"([A-Z_]+=\S* )*(python|srn-d2|make) ", code):
            words = shlex.split(code)
            is_mention = len(words) == 2 and words[0] != "make"
            check_command([*words, "--help"] if is_mention else words, parse)


@all_pages
def test_files_and_keys_in_the_text_exist(page):
    from srn_d2.config import build_cfg

    for code in inline_code(page):
        if code.startswith(tuple(f"{folder}/" for folder in OF_THE_REPOSITORY)) and " " not in code:
            assert (ROOT / code).exists(), f"there is no {code}"
        elif CONFIG_KEY.match(code):
            key, *rest = shlex.split(code)
            node = build_cfg("", [key, *rest] if rest else [])
            for name in key.split("."):
                assert name in node, f"there is no key {key}"
                node = node[name]


@all_pages
def test_linked_files_exist(page):
    for link in LINK.finditer(page.read_text(encoding="utf-8")):
        path = page.parent / link["path"]
        assert path.exists(), f"{name_of(page)} links to {link['path']}"
        assert path.resolve().is_relative_to(ROOT)


@pages_with_code_to_run
def test_code_runs(page, reader, capsys):
    from srn_d2.cli import main

    namespace = {"__name__": "reader"}
    for block in blocks_of(page, is_run=True):
        if block.language == "python":
            code = compile("\n" * (block.line - 1) + block.text, name_of(page), "exec")
            exec(code, namespace)
            continue
        for program, *arguments in shell_commands(block.text):
            assert program == "srn-d2", "run it in this test, or say why not before the block"
            assert main(arguments) == 0, capsys.readouterr().err


def test_readme_fits_on_a_few_screens():
    assert os.path.getsize(ROOT / "README.md") <= 9_000
