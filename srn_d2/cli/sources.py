"""The input files of ``srn-d2 detect`` and the names of their outputs."""

import glob
import logging
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from .file_search import OUTPUT_FOLDER, FolderSearch, Found, classify
from .junk import junk_reason
from .picture_files import FALLBACK_SUFFIXES, output_name
from .printing import printable
from .video.suffixes import VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_MAX_SUFFIXES = 10  # that a message lists


class Source(NamedTuple):
    """An input file.

    Attributes:
        path: path of the file.
        name: path of its picture or video below the output folder.
        stem: input path without suffix, below the common folder of all inputs.
        problem: why it cannot be done, known from its name: processing it is an error.
        has_fallbacks: whether the names of ``fallbacks`` are free.
        kind: kind of the problem in a few words, for the summary.
    """

    path: Path
    name: Path
    stem: Path
    problem: str | None = None
    has_fallbacks: bool = True
    kind: str = ""

    @property
    def is_video(self) -> bool:
        return self.problem is None and self.path.suffix.lower() in VIDEO_SUFFIXES

    @property
    def fallbacks(self) -> list[Path]:
        """Names, below the output folder, for a picture that the format of ``name`` cannot hold."""
        if not self.has_fallbacks:
            return []
        return _fallbacks(self.stem.with_name(self.path.name))


class Search(NamedTuple):
    """What the arguments of the command name.

    Attributes:
        sources: input files, those with a problem too.
        passed_over: files and folders that are left out with reason, such as trash.
    """

    sources: list[Source]
    passed_over: list[Found]


def find_sources(patterns: Iterable[str], output: Path) -> list[Source]:
    """The input files, see ``search``.

    It is logged if the output folder is passed over, and the number of all else that is.
    """
    found = search(patterns, output)
    outputs = [item for item in found.passed_over if item.problem == OUTPUT_FOLDER]
    for item in outputs:
        logger.info("%s is passed over: it is %s", printable(item.path), item.problem)
    number = len(found.passed_over) - len(outputs)
    if number:
        logger.info(
            "%d files or folders passed over, such as thumbnails and trash: --list names them",
            number,
        )
    return found.sources


def search(patterns: Iterable[str], output: Path) -> Search:
    """The files named by the command line, in its order, those of a folder sorted.

    Folders are searched recursively for pictures and videos, except in ``output``; linked folders
    are followed once. Names below ``output`` are relative to the deepest common folder of all
    files.

    Raises:
        FileNotFoundError: a pattern names nothing.
        ValueError: an output would overwrite an input, a folder is the output folder or in it, or
            an argument is the address of a web page.
    """
    junk: dict[Path, Found] = {}
    expanded = {pattern: _expand(pattern, junk) for pattern in patterns}
    paths = [path for paths in expanded.values() for path in paths]
    folders = [path for path in dict.fromkeys(paths) if path.is_dir()]
    _check_not_output(folders, output.resolve())
    folder_search = FolderSearch(folders, output)
    found_in = folder_search.found
    found: dict[Path, Found] = {}
    for pattern, arguments in expanded.items():
        items = [
            item
            for path in arguments
            for item in (found_in[path] if path in found_in else [_named_file(path)])
        ]
        if all(item.is_junk for item in items):
            contents = _contents(folder_search.suffixes_seen, items)
            raise FileNotFoundError(f"{pattern}: no picture or video in it; {contents}")
        for item in items:
            if found.setdefault(item.path, item).is_junk:
                found[item.path] = item  # whoever names one wants it
    for path in junk.keys() - set(folders):
        found.setdefault(path, junk[path])
    base = os.path.commonpath([path if path.is_dir() else path.parent for path in paths])
    inputs = [item for item in found.values() if not item.is_junk]
    passed_over = [item for item in found.values() if item.is_junk]
    return Search(_name_outputs(inputs, Path(base), output), passed_over)


def _named_file(path: Path) -> Found:
    """A file that an argument names, which counts whatever its name: its bytes tell its format."""
    found = classify(path) if path.is_file() else None  # a pipe could be read only once
    return found or Found(path)


def _check_not_output(folders: Iterable[Path], output: Path) -> None:
    for folder in folders:
        real_folder = folder.resolve()
        if output in (real_folder, *real_folder.parents):
            raise ValueError(f"{folder} is the output folder or in it: choose another --output")


def _expand(pattern: str, junk: dict[Path, Found]) -> list[Path]:
    """The files and folders of an argument; those of a glob that are passed over go to ``junk``."""
    if os.path.lexists(pattern):
        return [_absolute(pattern)]
    if _ADDRESS.match(pattern):
        raise ValueError(f"{pattern}: addresses are not read; download it and give the file")
    wanted, passed_over = [], []
    is_named = [not glob.has_magic(part) for part in Path(pattern).parts]
    num_named = [*is_named, False].index(False)
    for name in sorted(glob.glob(pattern, recursive=True)):
        if item := _junk(Path(name), num_named):
            passed_over.append(item)
        else:
            wanted.append(_absolute(name))
    if not wanted:
        if passed_over:
            raise FileNotFoundError(f"{pattern}: all is passed over, such as {passed_over[0].path}")
        raise FileNotFoundError(f"{pattern}: there is no such file or folder")
    junk |= {item.path: item for item in passed_over}
    return wanted


def _junk(path: Path, num_named: int) -> Found | None:
    """What is passed over of a glob's match, itself or the first folder of thumbnails or trash.

    Args:
        path: as the glob gives it.
        num_named: number of its first parts that the user has named.
    """
    for index in range(num_named, len(path.parts)):
        part = Path(*path.parts[: index + 1])
        if reason := junk_reason(part.name, part.is_dir()):
            return Found(_absolute(str(part)), reason, True)
    return None


def _contents(suffixes: Counter[str], junk: Sequence[Found]) -> str:
    """What was seen instead of pictures."""
    counts = [f"{count} {suffix}" for suffix, count in suffixes.most_common(_MAX_SUFFIXES)]
    if len(suffixes) > _MAX_SUFFIXES:
        counts.append("others")
    if junk:
        counts.append(f"{len(junk)} passed over, such as {junk[0].path.name}")
    return f"there are {', '.join(counts)}" if counts else "it is empty"


def distinct_name(own: Path, name: Path, kept: Collection[Path]) -> Path:
    """Name of an output that no other input has, whatever the order of the inputs.

    ``b.mkv`` would become ``b.mkv.mp4``. If there is an input of this name, which keeps it, it
    becomes ``b.mkv.mp4.mp4``, and so on. Others cannot have it: what is added is always the same
    for one file, and an input that ends in it keeps its name.

    Args:
        own: name of the input, below the common folder.
        name: the same, or ``own`` with a suffix added.
        kept: names of the inputs that keep their own.
    """
    while name != own and name in kept:
        name = name.with_name(name.name + name.suffix)
    return name


def distinct_stems(sources: Sequence[Source]) -> list[Source]:
    """Sources whose ``stem``, in the files of ``--format wider``, is each another.

    Pictures of one stem, such as ``a.jpg`` and ``a.png``, get their whole names for it: their files
    are ``a.jpg.txt`` and ``a.png.txt``.
    """
    stems = {x.path: x.stem for x in sources if not x.is_video and x.problem is None}
    while True:
        counts = Counter(stems.values())
        doubled = {path for path, stem in stems.items() if counts[stem] > 1}
        if not doubled:
            return [source._replace(stem=stems.get(source.path, source.stem)) for source in sources]
        stems |= {path: stems[path].with_name(path.name) for path in doubled}


def _name_outputs(inputs: Sequence[Found], base: Path, output: Path) -> list[Source]:
    """Name the outputs of all inputs; a ValueError if one of them would overwrite an input."""
    relative = {item.path: item.path.relative_to(base) for item in inputs}
    names = {path: _output_name(own) for path, own in relative.items()}
    done = [item.path for item in inputs if item.problem is None]
    kept = {names[path] for path in done if names[path] == relative[path]}
    names |= {path: distinct_name(relative[path], names[path], kept) for path in done}
    written = {names[path] for path in done}
    taken = set(written)
    if output.exists():
        resolved = {path.resolve() for path in relative}
        for name in sorted(written):
            if (output / name).resolve() in resolved:
                raise ValueError(f"{output / name} would be overwritten: choose another --output")
        real_output = output.resolve()
        taken |= {
            path.relative_to(real_output) for path in resolved if path.is_relative_to(real_output)
        }
    return [
        Source(
            path := item.path,
            names[path],
            relative[path].with_suffix(""),
            item.problem,
            taken.isdisjoint(_fallbacks(relative[path])),
            item.kind,
        )
        for item in inputs
    ]


def _fallbacks(relative: Path) -> list[Path]:
    return [relative.with_name(relative.name + suffix) for suffix in FALLBACK_SUFFIXES]


def _absolute(path: str) -> Path:
    """Absolute path without "..", which would lead out of the output folder."""
    absolute = Path(path).absolute()
    return absolute.resolve() if ".." in absolute.parts else absolute


def _output_name(name: Path) -> Path:
    """``name``, with another suffix added where its format is not written here."""
    if name.suffix.lower() in VIDEO_SUFFIXES:
        return name if name.suffix == ".mp4" else name.with_name(f"{name.name}.mp4")
    return output_name(name)
