"""The report of frames in which a face was missed."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from srn_d2.atomic_file import atomic_path

from ..printing import counted
from .output_names import gaps_path
from .problems import format_time, list_first, list_times
from .tracking import Gap


def write_gaps(gaps: Sequence[Gap], video: Path) -> Path | None:
    """Write all gaps to ``video`` with ".gaps.json" added.

    Returns:
        the file; None if there are no gaps: an older report is removed then.
    """
    path = gaps_path(video)
    if not gaps:
        path.unlink(missing_ok=True)
        return None
    lines = ",\n".join(json.dumps(gap.to_dict()) for gap in gaps)
    with atomic_path(path) as draft:
        draft.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return path


def describe_gaps(gaps: Sequence[Gap]) -> Iterator[str]:
    """Sentences on the gaps that are hidden, and on those that are not, with their times."""
    filled = [gap for gap in gaps if gap.is_filled]
    if filled:
        yield f"{counted(len(filled), 'gap')} of a face hidden by interpolated boxes"
    unfilled = [gap for gap in gaps if not gap.is_filled and gap.kind == "missed"]
    if unfilled:
        times = [f"{format_time(x.first_time)}-{format_time(x.last_time)}" for x in unfilled]
        yield (
            f"{counted(len(unfilled), 'gap')} of a face longer than --fill-gaps, NOT hidden: "
            f"look at {list_first(times)}"
        )
    lost = [gap for gap in gaps if gap.kind == "lost"]
    if lost:
        times = list_times(gap.first_time for gap in lost)
        yield (
            f"{counted(len(lost), 'face')} NOT hidden after the last time found, without having "
            f"left at the border: look from {times}"
        )
