"""The report of an ablation: report.md, report.json and a figure for each claim."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from srn_d2.atomic_file import atomic_path
from srn_d2.evaluation.widerface.ap import SETTINGS

from . import figures, tables
from .measures import FINE_SIZE, IOUS, RECALLS
from .results import Difference, Results
from .rows import BASELINE, SINGLE_LEVEL_ROWS

MARKDOWN, JSON = "report.md", "report.json"
# File -> its plot and its caption.
FIGURES = {
    "stc_false_positives.png": (figures.plot_false_positives, "STC against false positives"),
    "str_tightness.png": (figures.plot_tightness, "STR for tighter boxes"),
    "single_levels.png": (figures.plot_single_levels, "Either step on one level only"),
    "rfe.png": (figures.plot_rfe, "RFE"),
}
_HOW_TO_READ = """\
AP in %, official protocol: the mean over the seeds, and in brackets the lowest and the highest.
Differences are from the baseline row's run of the same seed, as a mean over the seeds; the interval
is the middle 95 % of {num_resamples} resamples of the images, for which the protocol was computed
anew with the same trained networks: it says how far other images may lead to another figure, the
range over the seeds how far another training may. Differences whose interval has no 0 are bold. The
paper's figures are of ResNet-50, 130 epochs and all 3,226 images."""
_HOW_TO_READ_SIZES = f"""\
Faces up to {FINE_SIZE:g} px (square root of the area), which the anchors of P2 to P4 match, and
larger ones. False positives are detections of the same size, at {100 * tables.COMPARED_RECALL:g} %
recall of these faces."""


def write_report(
    results: Results, conditions: Mapping[str, str], num_resamples: int, output: Path
) -> list[Path]:
    """Write the report; figures whose rows are not there are left out.

    Args:
        results: measures of all runs.
        conditions: what the report begins with, name -> text.
        num_resamples: bootstrap resamples.
        output: folder.

    Returns:
        the files written.
    """
    largest = results.lists[0].name
    plots = {}
    for name, (plot, caption) in FIGURES.items():
        figure = plot(results, largest)
        if figure is not None:
            plots[name] = caption
            with atomic_path(output / name) as draft:
                figure.savefig(draft, dpi=120)
    contents = {
        MARKDOWN: to_markdown(results, conditions, num_resamples, plots),
        JSON: json.dumps(to_json(results, conditions), indent=1, allow_nan=False) + "\n",
    }
    for name, text in contents.items():
        with atomic_path(output / name) as draft:
            draft.write_text(text, encoding="utf-8")
    return [output / name for name in (*contents, *plots)]


def to_markdown(
    results: Results, conditions: Mapping[str, str], num_resamples: int, plots: Mapping[str, str]
) -> str:
    """The tables, list by list of the images."""
    parts = ["# Ablation", "\n".join(f"- {name}: {text}" for name, text in conditions.items())]
    if results.missing:
        parts.append(f"**Not done yet: {', '.join(results.missing)}.**")
    parts.append(_HOW_TO_READ.format(num_resamples=num_resamples))
    if results.settings != SETTINGS:
        parts.append("There is no official ground truth: all faces of the annotations count.")
    for images in results.lists:
        parts += _section(results, images.name, len(images.image_ids))
    anchors = tables.anchor_table(results)
    if anchors:
        parts += ["## Positives : negatives of the second step, an image", anchors]
    parts += [f"## {caption}\n\n![{caption}]({name})" for name, caption in plots.items()]
    return "\n\n".join(parts) + "\n"


def _section(results: Results, images: str, number: int) -> list[str]:
    last = results.settings[-1].title()
    parts = [f"## Images: {images} ({number})", tables.main_table(results, images)]
    if results.has(BASELINE) and len(results.rows) > 1:
        parts += ["### Differences from the baseline", tables.difference_table(results, images)]
    parts += [f"### {last} by IoU", tables.iou_table(results, images)]
    title = f"### False positives at a recall of {last}"
    parts += [title, tables.false_positive_table(results, images)]
    parts += ["### By size of the faces", _HOW_TO_READ_SIZES, tables.size_table(results, images)]
    for step in SINGLE_LEVEL_ROWS:
        own = tables.single_level_table(results, images, step)
        if own:
            parts += [f"### {step.upper()} on one level only", own]
    return parts


def to_json(results: Results, conditions: Mapping[str, str]) -> dict[str, Any]:
    """All numbers of the tables; NaN as None."""
    return {
        "conditions": dict(conditions),
        "missing": list(results.missing),
        "ious": list(IOUS),
        "recalls": list(RECALLS),
        "lists": {
            images.name: {
                "images": len(images.image_ids),
                "rows": {
                    row.name: _row_json(results, images.name, row.name) for row in results.rows
                },
            }
            for images in results.lists
        },
        "anchors": {
            row.name: {
                str(seed): asdict(counts)
                for (name, seed), counts in results.anchors.items()
                if name == row.name
            }
            for row in results.rows
        },
    }


def _row_json(results: Results, images: str, row: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"seeds": {}, "differences": {}}
    for seed in results.seeds:
        own = results.measures.get((images, row, seed))
        if own is not None:
            entry["seeds"][str(seed)] = {
                "ap": {group: _numbers(values[0]) for group, values in own.ap.items()},
                "false_positives": {
                    group: _numbers(values[0]) for group, values in own.false_positives.items()
                },
            }
    if row == BASELINE or not results.has(BASELINE):
        return entry
    groups = next(iter(results.measures.values())).ap
    for group in groups:
        entry["differences"][group] = {
            "ap_points": [
                _difference_json(results.ap_difference(images, row, group, iou)) for iou in IOUS
            ],
            "false_positives_percent": [
                _difference_json(results.false_positive_change(images, row, group, recall))
                for recall in RECALLS
            ],
        }
    return entry


def _difference_json(difference: Difference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    return {
        "by_seed": {str(seed): _number(value) for seed, value in difference.by_seed.items()},
        "mean": _number(difference.mean),
        "interval": [_number(difference.low), _number(difference.high)],
    }


def _numbers(values: Sequence[float] | np.ndarray) -> list[float | None]:
    return [_number(value) for value in values]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
