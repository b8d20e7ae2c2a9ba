"""Which of a file's categories (labels, classes) are faces."""

from collections.abc import Hashable, Mapping, Sequence

from srn_d2.data.annotation_files import AnnotationFormatError

FACE_NAMES = ("face", "faces", "human face", "human_face", "human-face")


def canonical_key(value: object) -> Hashable:
    """A number or its text as one key: 1, 1.0, "1" and " 1 " are the same; None stays."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, (int, str)):
        text = str(value).strip()
        return str(int(text)) if text.isdecimal() and len(text) < 100 else text
    return value if value is None else str(value)


def choose_face_categories(
    names: Mapping[Hashable, str],
    counts: Mapping[Hashable, int],
    wanted: Sequence[str | int] | None,
    source: str,
    where: str,
) -> set[Hashable]:
    """The keys of those categories that are faces.

    Args:
        names: key (see :func:`canonical_key`) -> name, of all categories of the file.
        counts: key -> number of annotations, for keys in ``names``.
        wanted: names or keys that are all faces; None: the category called "face", else the only
            one that has annotations.
        source: the file.
        where: the key or column, for messages.

    Raises:
        AnnotationFormatError: ``wanted`` names a category that is not there, or nothing says which
            of several categories are faces.
    """
    if wanted is not None:
        return {_find(key, names, source, where) for key in wanted}
    used = {key for key in names if counts.get(key, 0)}
    faces = {key for key, name in names.items() if _plain(name) in FACE_NAMES}
    if faces & used or (faces and not used):
        return faces
    if len(used) == 1:
        return used if not faces else _refuse(names, counts, source, where)
    if not used and len(names) == 1:
        return set(names)
    return _refuse(names, counts, source, where)


def note_on_choice(
    names: Mapping[Hashable, str], faces: set[Hashable], wanted: Sequence[str | int] | None
) -> str:
    """A sentence where a category of another name was taken for faces without being told; or ""."""
    others = [
        name for key, name in names.items() if key in faces and _plain(name) not in FACE_NAMES
    ]
    if wanted is not None or not others:
        return ""
    return f"the only category with annotations, {others[0]!r}, counts as faces"


def list_categories(names: Mapping[Hashable, str], counts: Mapping[Hashable, int]) -> str:
    """The names with their numbers of annotations, for messages."""
    return ", ".join(f"{name!r} ({counts.get(key, 0)})" for key, name in names.items())


def _refuse(
    names: Mapping[Hashable, str], counts: Mapping[Hashable, int], source: str, where: str
) -> set[Hashable]:
    shown = [name for key, name in names.items() if counts.get(key, 0)] or list(names.values())
    raise AnnotationFormatError(
        source,
        where,
        "nothing says which of these (number of annotations) are faces: "
        f"{list_categories(names, counts)}; name them, such as categories={shown[:5]}",
    )


def _find(wanted: str | int, names: Mapping[Hashable, str], source: str, where: str) -> Hashable:
    plain = _plain(str(wanted))
    matching = [key for key, name in names.items() if _plain(name) == plain]
    if not matching and canonical_key(wanted) in names:
        matching = [canonical_key(wanted)]
    if not matching:
        problem = f"there is no category {wanted!r}, only {list(names.values())}"
        raise AnnotationFormatError(source, where, problem)
    return matching[0]


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()
