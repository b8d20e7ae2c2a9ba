"""The report's tables, in Markdown: ours, and the paper's beside."""

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from tabulate import tabulate

from . import paper
from .measures import COARSE, FINE, IOUS, RECALLS
from .results import Difference, Results
from .rows import BASELINE, SINGLE_LEVEL_ROWS, Row

ABSENT = "-"
OFFICIAL_IOU = 0.5
# Recall of the paper's claim at which false positives are compared.
COMPARED_RECALL = 0.8
_SINGLE = {name for names in SINGLE_LEVEL_ROWS.values() for name in names}


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table of texts."""
    return tabulate(body, header, tablefmt="github", disable_numparse=True)


def main_table(results: Results, images: str) -> str:
    """AP of the rows that are not of a single level, mean and range over the seeds."""
    header = ["row", "seeds", *map(str.title, results.settings), "paper: Easy / Medium / Hard"]
    body = []
    for row in main_rows(results):
        by_setting = [
            results.ap(images, row.name, setting, OFFICIAL_IOU) for setting in results.settings
        ]
        published = paper.AP.get(row.name)
        body.append(
            [
                row.title,
                str(len(by_setting[0])),
                *(mean_and_range(values.values()) for values in by_setting),
                " / ".join(map(str, published)) if published else ABSENT,
            ]
        )
    return table(header, body)


def difference_table(results: Results, images: str) -> str:
    """Paired differences of every row from the baseline, with bootstrap intervals."""
    last = results.settings[-1]
    columns: list[tuple[str, Callable[[Row], Difference | None], str]] = [
        (setting.title(), _ap_difference(results, images, setting, OFFICIAL_IOU), "")
        for setting in results.settings
    ]
    columns += [
        (f"{last.title()}, IoU {iou:g}", _ap_difference(results, images, last, iou), "")
        for iou in IOUS[2:]
    ]
    columns.append(
        (
            f"false positives at {100 * COMPARED_RECALL:g} % recall of {last.title()}",
            lambda row: results.false_positive_change(images, row.name, last, COMPARED_RECALL),
            " %",
        )
    )
    body = [
        [row.title, *(signed(difference(row), unit) for _, difference, unit in columns)]
        for row in results.rows
        if row.name != BASELINE
    ]
    return table(["row", *(name for name, *_ in columns)], body)


def iou_table(results: Results, images: str) -> str:
    """AP of the last setting at IoU 0.5 to 0.8, and the paper's on Hard."""
    last = results.settings[-1]
    body = [
        [
            row.title,
            *(mean_and_range(results.ap(images, row.name, last, iou).values()) for iou in IOUS),
            *map(str, paper.AP_BY_IOU.get(row.name, [ABSENT] * len(IOUS))),
        ]
        for row in results.rows
    ]
    header = ["row", *(f"IoU {iou:g}" for iou in IOUS), *(f"paper: {iou:g}" for iou in IOUS)]
    return table(header, body)


def false_positive_table(results: Results, images: str) -> str:
    """False positives at a recall of the last setting, mean over the seeds, and the paper's."""
    last = results.settings[-1]
    body = [
        [
            row.title,
            *(
                number(results.false_positives(images, row.name, last, recall).values())
                for recall in RECALLS
            ),
            " / ".join(f"{n:,}" for n in paper.FALSE_POSITIVES.get(row.name, ())) or ABSENT,
        ]
        for row in results.rows
    ]
    return table(
        ["row", *(f"{100 * recall:g} %" for recall in RECALLS), "paper, of 3,226 images"], body
    )


def size_table(results: Results, images: str) -> str:
    """AP and change of false positives for the faces of the fine and of the coarse levels."""
    header = ["row"]
    for group in (FINE, COARSE):
        header += [f"{group}: AP", f"{group}: AP at IoU 0.7", f"{group}: false positives"]
    body = []
    for row in results.rows:
        cells = [row.title]
        for group in (FINE, COARSE):
            cells += [
                mean_and_range(results.ap(images, row.name, group, iou).values())
                for iou in (OFFICIAL_IOU, 0.7)
            ]
            false = results.false_positives(images, row.name, group, COMPARED_RECALL).values()
            change = results.false_positive_change(images, row.name, group, COMPARED_RECALL)
            is_compared = row.name != BASELINE and change is not None
            cells.append(number(false) + (f" ({signed(change, ' %')})" if is_compared else ""))
        body.append(cells)
    return table(header, body)


def single_level_table(results: Results, images: str, step: str) -> str | None:
    """AP with one step on one level only, ours over the paper's; None without such a row.

    Args:
        results, images: see the other tables.
        step: "stc" or "str".
    """
    names = (BASELINE, *SINGLE_LEVEL_ROWS[step])
    if not any(results.has(name) for name in names[1:]):
        return None
    body = []
    for index, setting in enumerate(results.settings):
        ours = [results.ap(images, name, setting, OFFICIAL_IOU) for name in names]
        body.append([setting.title(), *(mean_and_range(values.values()) for values in ours)])
        if setting in paper.SETTINGS:
            cells = [str(paper.AP[name][index]) for name in names]
            body.append([f"{setting.title()}, paper", *cells])
    return table(["", "none", *(name[-2:].upper() for name in names[1:])], body)


def anchor_table(results: Results) -> str | None:
    """Positives and negatives of the second step, mean over the seeds; None without any."""
    body = []
    for row in results.rows:
        counts = [results.anchors[key] for key in results.anchors if key[0] == row.name]
        if not counts:
            continue
        cells = [row.title]
        for when in ("before", "after"):
            positives = np.mean([getattr(c, f"positives_{when}_stc") for c in counts])
            negatives = np.mean([getattr(c, f"negatives_{when}_stc") for c in counts])
            cells.append(_ratio(positives, negatives))
        published = paper.ANCHORS.get(row.name)
        body.append([*cells, _ratio(*published) if published else ABSENT])
    header = ["row", "before STC", "after STC", "paper, in training"]
    return table(header, body) if body else None


def main_rows(results: Results) -> list[Row]:
    """The rows that are not of a single level."""
    return [row for row in results.rows if row.name not in _SINGLE]


# --- cells ----------------------------------------------------------------------------------------


def mean_and_range(values: Iterable[float], digits: int = 1) -> str:
    """ "83.1 (82.9 .. 83.4)", of one value without a range."""
    values = list(values)
    if not values or any(map(math.isnan, values)):
        return ABSENT
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} .. {max(values):.{digits}f})"


def number(values: Iterable[float]) -> str:
    """The mean of numbers of false positives; a dash where some seed does not reach the recall."""
    values = list(values)
    if not values or any(map(math.isnan, values)):
        return ABSENT
    return f"{np.mean(values):,.0f}"


def signed(difference: Difference | None, unit: str = "") -> str:
    """ "+0.5 [-0.2, +1.1]", bold where the interval has no 0."""
    if difference is None or math.isnan(difference.mean):
        return ABSENT
    digits = 0 if unit else 1
    text = f"{difference.mean:+.{digits}f}{unit}"
    if math.isnan(difference.low):
        return text
    text += f" [{difference.low:+.{digits}f}, {difference.high:+.{digits}f}]"
    return f"**{text}**" if difference.low > 0 or difference.high < 0 else text


def _ap_difference(
    results: Results, images: str, group: str, iou: float
) -> Callable[[Row], Difference | None]:
    return lambda row: results.ap_difference(images, row.name, group, iou)


def _ratio(positives: float, negatives: float) -> str:
    counts = f"{positives:,.1f} : {negatives:,.0f}"
    return f"{counts} (1 : {negatives / positives:,.0f})" if positives else counts
