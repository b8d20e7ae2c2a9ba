"""Names of videos that keep their codec and container."""

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from ..sources import Source, distinct_name
from .errors import VideoError
from .suffixes import MUXERS, name_in_own_container, names_in_containers


def keep_containers(sources: Sequence[Source], output: Path) -> list[Source]:
    """Sources whose videos are written under their own names.

    Raises:
        ValueError: an output would overwrite an input.
    """
    own = {source.path: source.path.relative_to(_base(source)) for source in sources}
    names = {source.path: _name(source) if source.is_video else source.name for source in sources}
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


def _name(source: Source) -> Path:
    """Name of a video in its own container, or in one that holds its codec.

    Of a video that cannot be read it has no meaning: reading it names the error.
    """
    name = source.path.relative_to(_base(source))
    from .codecs import find_encoder  # these import PyAV
    from .reader import open_container

    try:
        with open_container(source.path) as container:
            stream = container.streams.best("video")
            context = None if stream is None else stream.codec_context
            if context is None:
                return name_in_own_container(name)
            is_raw_rgb = context.codec.name == "rawvideo" and context.format.is_rgb
            encoder = find_encoder(context.codec.canonical_name)
    except (VideoError, OSError):
        return name_in_own_container(name)
    return next(
        (x for x in names_in_containers(name) if _holds(x.suffix.lower(), encoder, is_raw_rgb)),
        name_in_own_container(name),
    )


def _holds(suffix: str, encoder: str, is_raw_rgb: bool) -> bool:
    """Check whether a container's writer takes an encoder's videos."""
    muxer = MUXERS[suffix]
    # Matroska has uncompressed videos, but not in RGB.
    return encoder in _supported_codecs(muxer) and not (is_raw_rgb and muxer == "matroska")


@cache
def _supported_codecs(muxer: str) -> frozenset[str]:
    """Encoders whose videos a container's writer takes."""
    import av

    return frozenset(av.open(io.BytesIO(), "w", format=muxer).supported_codecs)


def _base(source: Source) -> Path:
    """The folder that a source's ``stem`` is relative to."""
    return source.path.parents[len(source.stem.parts) - 1]
