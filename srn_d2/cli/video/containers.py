"""Names of videos that keep their codec and container."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..sources import Source
from .suffixes import name_in_own_container


def keep_containers(sources: Iterable[Source], output: Path) -> list[Source]:
    """Sources whose videos are written under their own names.

    Raises:
        ValueError: an output would overwrite an input, or two have one name.
    """
    kept = [
        source._replace(name=name_in_own_container(source.path.relative_to(_base(source))))
        if source.is_video
        else source
        for source in sources
    ]
    inputs = {source.path.resolve() for source in kept}
    counts = Counter(source.name for source in kept)
    for name, count in counts.items():
        if count > 1:
            raise ValueError(f"Two inputs would be written as {output / name}: do one at a time")
        if (output / name).resolve() in inputs:
            raise ValueError(f"{output / name} would be overwritten: choose another --output")
    return kept


def _base(source: Source) -> Path:
    """The folder that a source's ``stem`` is relative to."""
    return source.path.parents[len(source.stem.parts) - 1]
