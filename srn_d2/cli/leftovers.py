"""Pictures and videos of earlier runs, which a failure leaves in the output folder."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from .journal import DAMAGED_VIDEO, Result
from .printing import printable
from .sources import Source


def with_leftovers_named(
    results: Iterable[Result], sources: Sequence[Source], output: Path
) -> Iterator[Result]:
    """Results whose errors say which files in the output folder are of an earlier run.

    Such a file may show faces that this run was to hide, and is easily taken for what it wrote.

    Args:
        results: of a run that writes pictures and videos.
        sources: all inputs of the run.
        output: output folder.
    """
    source_of = {str(source.path): source for source in sources}
    written = {source.name for source in sources if source.problem is None}
    for result in results:
        has_failed = result.problem not in (None, DAMAGED_VIDEO) and not result.written
        if not has_failed or result.record is None:
            yield result
            continue
        source = source_of[result.path]
        names = [source.name] if source.is_video else [source.name, *source.fallbacks]
        names = list(dict.fromkeys(names))
        if source.problem is not None:  # it has no name of its own
            names = [name for name in names if name not in written]
        found = [printable(name) for name in names if os.path.lexists(output / name)]
        yield _with_error(result, found) if found else result


def _with_error(result: Result, names: Sequence[str]) -> Result:
    record = result.record or {}
    verb = "is" if len(names) == 1 else "are"
    error = (
        f"{record.get('error', '')}; {' and '.join(names)} in the output folder {verb} of an "
        "earlier run"
    )
    return dataclasses.replace(result, record={**record, "error": error})
