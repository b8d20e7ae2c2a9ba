"""Image names in annotation files -> files, however the exporter has written the names."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import parse_qs, unquote, urlsplit

from srn_d2.data.annotation_files import has_image_suffix

# Maximum number of missing images named in an error message.
NUM_MISSING_SHOWN = 5
# What Label Studio puts before the name of an uploaded file.
_UPLOAD_PREFIX = re.compile(r"[0-9a-f]{8}-(?=.)")
_DRIVE = re.compile(r"[A-Za-z]:(?=[\\/])")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


def resolve_names(image_root: str | os.PathLike, names: Sequence[str]) -> tuple[list[str], str]:
    """The absolute path of each image, checked to be there; no image is opened.

    A name that is no path below ``image_root`` is read as other systems and exporters write it:
    with backslashes, %20, file:// or a web address, a prefix of folders, without its folder, in
    another case or Unicode form. It is taken if exactly one file fits, and no other name fits it.

    Args:
        image_root: the folder of the images.
        names: paths below it.

    Returns:
        The paths, and a sentence on those that were read in another way ("" if there are none).

    Raises:
        FileNotFoundError: names the number of images that do not resolve, the first of them, and
            what to do.
    """
    root = os.path.abspath(image_root)
    if not os.path.isdir(root):
        raise FileNotFoundError(
            f"The folder of the images, image_root, is not there: {root}; give the folder below "
            "which the names in the annotations are"
        )
    paths: list[str | None] = []
    for name in names:
        path = os.path.join(root, name)
        paths.append(path if "\0" not in name and os.path.isfile(path) else None)
    unresolved = [index for index, path in enumerate(paths) if path is None]
    if not unresolved:
        return paths, ""  # type: ignore[return-value]
    index_of_root = _FolderIndex(root)
    taken = Counter(path for path in paths if path is not None)
    found = {index: index_of_root.find(names[index]) for index in unresolved}
    taken.update(path for path, _ in found.values() if path)
    missing, example = [], ""
    how: Counter[str] = Counter()
    for index, (path, reason) in found.items():
        if path is None or taken[path] > 1:
            also = f" ({reason})" if path is None and reason else ""
            also = f" (as another name, it could be {path})" if path else also
            missing.append(f"{names[index]}{also}")
            continue
        paths[index] = path
        how[reason] += 1
        example = example or f"{names[index]!r} is {os.path.relpath(path, root)!r}"
    if missing:
        raise FileNotFoundError(_missing_message(root, missing, len(names)))
    reasons = ", ".join(f"{number} {reason}" for reason, number in how.items())
    return paths, f"names of images resolved: {reasons}; {example}"  # type: ignore[return-value]


def _missing_message(root: str, missing: Sequence[str], num_all: int) -> str:
    shown = "\n".join(f"  {line}" for line in missing[:NUM_MISSING_SHOWN])
    more = "\n  ..." if len(missing) > NUM_MISSING_SHOWN else ""
    return (
        f"{len(missing)} of {num_all} images are missing below image_root, {root}:\n{shown}{more}\n"
        "image_root is the folder below which the names in the annotations are: give another one, "
        "or correct the names"
    )


class _FolderIndex:
    """The image files below a folder, found by part of their path."""

    def __init__(self, root: str) -> None:
        self._root = root
        # The last part of the path, in one case and Unicode form -> paths below the root.
        self._by_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for folder, _, files in os.walk(root):
            for name in files:
                if has_image_suffix(name):
                    path = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")
                    self._by_name.setdefault(_fold(name), []).append(path)
                    stem = _fold(os.path.splitext(name)[0])
                    self._by_stem.setdefault(stem, []).append(path)

    def find(self, name: str) -> tuple[str | None, str]:
        """The absolute path of the only file that fits, and how; or None and why not."""
        why = ""
        for text, how in _readings(name):
            if os.path.isabs(text) and os.path.isfile(text):
                return text, how
            parts = [part for part in text.split("/") if part not in ("", ".", "..")]
            if not parts:
                continue
            last = _fold(parts[-1])
            files = self._by_name.get(last) or (
                [] if has_image_suffix(last) else self._by_stem.get(last, [])
            )
            best = _longest_common_end(files, parts)
            if len(best) == 1:
                return os.path.join(self._root, *best[0].split("/")), how
            if best:
                why = f"it could be {' or '.join(best[:3])}"
        return None, why


def _longest_common_end(files: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Those of the files whose path agrees with the longest end of ``parts``."""
    wanted = [_fold(part) for part in reversed(parts)]

    def agreement(path: str) -> int:
        own = [_fold(part) for part in reversed(path.split("/"))]
        pairs = zip(own, wanted, strict=False)
        return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(own), len(wanted)))

    ranked = [(agreement(path), path) for path in files]
    best = max((rank for rank, _ in ranked), default=0)
    return [path for rank, path in ranked if rank == best]


def _readings(name: str) -> Iterator[tuple[str, str]]:
    """The path that a name may stand for, the likeliest first, and what has been done to it."""
    text, done = name.strip(), []
    scheme = _SCHEME.match(text)
    if scheme:
        done.append(f"with {scheme.group()}")
        parts = urlsplit(text)
        host = parts.netloc if scheme.group(1).lower() not in ("file", "http", "https") else ""
        text = unquote(f"{host}{parts.path}", errors="surrogateescape")
    elif "?d=" in text:  # Label Studio's local files
        done.append("with ?d=")
        text = parse_qs(text.split("?", 1)[1]).get("d", [text])[0]
    if "\\" in text:
        done.append("with backslashes")
        text = _DRIVE.sub("", text).replace("\\", "/")
    readings = [(text, done)]
    if "%" in text and unquote(text) != text:
        readings.append((unquote(text, errors="surrogateescape"), [*done, "with %20 or the like"]))
    if any("\udc80" <= character <= "\udcff" for character in text):
        decoded = os.fsencode(text).decode("cp1252", errors="replace")
        readings.append((decoded, [*done, "in Latin letters of Windows (cp1252)"]))
    for reading, how in readings:
        yield reading, " and ".join(how) or "below another folder or in another case"
    for reading, how in readings:
        path = PurePosixPath(reading)
        short = _UPLOAD_PREFIX.sub("", path.name, count=1)
        if short != path.name:
            yield str(path.with_name(short)), " and ".join([*how, "with Label Studio's prefix"])


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
