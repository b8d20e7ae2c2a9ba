"""Names of videos that keep their codec and container."""

from collections.abc import Sequence
from pathlib import Path

from ..sources import Source, distinct_name
from .suffixes import name_in_own_container


def keep_containers(sources: Sequence[Source], output: Path) -> list[Source]:
    """Sources whose videos are written under their own names.

    Raises:
        ValueError: an output would overwrite an input.
    """
    own = {source.path: source.path.relative_to(_base(source)) for source in sources}
    names = {
        source.path: name_in_own_container(own[source.path]) if source.is_video else source.name
        for source in sources
    }
    kept = {source.name for source in sources if not source.is_video}
    kept |= {name for path, name in names.items() if name == own[path]}
    named = [
        source._replace(name=distinct_name(own[source.path], names[source.path], kept))
        if source.is_video
        else source
        for source in sources
    ]
    inputs = {source.path.resolve() for source in named}
    for source in named:
        if (output / source.name).resolve() in inputs:
            raise ValueError(
                f"{output / source.name} would be overwritten: choose another --output"
            )
    return named


def _base(source: Source) -> Path:
    """The folder that a source's ``stem`` is relative to."""
    return source.path.parents[len(source.stem.parts) - 1]
