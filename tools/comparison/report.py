"""The comparison as Markdown, JSON and a plot."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.timing import Spread
from srn_d2.atomic_file import atomic_path
from srn_d2.evaluation.widerface.ap import SETTINGS
from srn_d2.evaluation.widerface.face_report import OFFICIAL_IOU, FaceReport
from srn_d2.evaluation.widerface.plots import plot_precision_recall

from .rows import Row

ABSENT = "-"  # in tables, for what does not exist
MARKDOWN, JSON, PLOT = "comparison.md", "comparison.json", "precision_recall.png"


def write_comparison(
    rows: Sequence[Row], num_images: int, latency: Mapping[str, Any] | None, output: Path
) -> list[Path]:
    """Write the table as Markdown and JSON, and the plot of those that were evaluated.

    Returns:
        the files written.
    """
    paths = [output / JSON, output / MARKDOWN]
    reports = _reports(rows)
    if reports:
        paths.append(output / PLOT)
        figure = plot_precision_recall(reports)
        figure.set_size_inches(15, 5.5)
        with atomic_path(paths[-1]) as draft:
            figure.savefig(draft, dpi=120)
    content = json.dumps(to_json(rows, num_images, latency), indent=1, allow_nan=False) + "\n"
    for path, text in zip(paths, (content, to_markdown(rows, num_images, latency)), strict=False):
        with atomic_path(path) as draft:
            draft.write_text(text, encoding="utf-8")
    return paths


def to_markdown(rows: Sequence[Row], num_images: int, latency: Mapping[str, Any] | None) -> str:
    """The tables; ``rows`` in their order."""
    parts = [
        "# Face detectors side by side",
        f"{num_images} images of WIDER FACE's validation set. AP in %, official protocol.",
        main_table(rows),
    ]
    if latency:
        parts.append(_latency_conditions(latency))
    problems = [f"- {row.title}: {problem}" for row in rows for problem in row.problems]
    if problems:
        parts += ["## Missing", "\n".join(problems)]
    reports = _reports(rows)
    if reports:
        parts += ["## AP by face height", height_table(rows)]
        warnings = [f"- {report.name}: {text}" for report in reports for text in report.warnings]
        if warnings:
            parts += ["## Warnings", "\n".join(warnings)]
        parts.append(f"![Precision against recall]({PLOT})")
    return "\n\n".join(parts) + "\n"


def main_table(rows: Sequence[Row]) -> str:
    """AP of the three settings, seconds, and what was set."""
    body = [
        [
            row.title,
            *(_percent(_ap(row.report, setting)) if row.report else ABSENT for setting in SETTINGS),
            _seconds(row.seconds),
            row.settings,
        ]
        for row in rows
    ]
    header = ["detector", *map(str.title, SETTINGS), "seconds an image", "settings for AP"]
    return _table(header, body)


def height_table(rows: Sequence[Row]) -> str:
    """AP of the faces of each height, and how many there are."""
    rows = [row for row in rows if row.report]
    groups = {row.name: [g for g in row.report.groups if g.kind == "height"] for row in rows}
    first = groups[rows[0].name]
    header = ["detector", *(f"{group.name} ({group.num_faces})" for group in first)]
    body = [
        [row.title, *(_percent(group.ap[OFFICIAL_IOU]) for group in groups[row.name])]
        for row in rows
    ]
    return _table(header, body)


def to_json(
    rows: Sequence[Row], num_images: int, latency: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The same as plain values; AP in 0 .. 1, NaN as None."""
    return {
        "images": num_images,
        "latency_environment": latency["environment"] if latency else None,
        "detectors": {row.name: _row_to_json(row) for row in rows},
    }


def _row_to_json(row: Row) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "title": row.title,
        "settings": row.settings,
        "predictions": str(row.predictions) if row.predictions else None,
        "problems": list(row.problems),
        "seconds": row.seconds._asdict() if row.seconds else None,
    }
    if row.report:
        entry["ap"] = {setting: _number(_ap(row.report, setting)) for setting in SETTINGS}
        entry["ap_by_height"] = {
            group.name: _number(group.ap[OFFICIAL_IOU])
            for group in row.report.groups
            if group.kind == "height"
        }
        entry["detections"] = row.report.num_detections
        entry["warnings"] = list(row.report.warnings)
    return entry


def _latency_conditions(latency: Mapping[str, Any]) -> str:
    machine = latency["environment"]
    return (
        f"Seconds: medians with quartiles in brackets, of {latency['rounds']} rounds through "
        f"{latency['images']} images; the detectors take turns image by image, "
        f"{machine['threads']} threads each, set as for AP but for the score threshold: the one "
        "that each has by default. Loading and decoding do not count. "
        f"{machine['device']}, {machine['cores']} cores, load before the start "
        f"{machine['load']:.2f}."
    )


def _reports(rows: Sequence[Row]) -> list[FaceReport]:
    return [row.report for row in rows if row.report]


def _ap(report: FaceReport, setting: str) -> float:
    return report.results[setting][OFFICIAL_IOU].ap


def _seconds(seconds: Spread | None) -> str:
    if seconds is None:
        return ABSENT
    return f"{seconds.median:.3g} [{seconds.lower:.3g}, {seconds.upper:.3g}]"


def _percent(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{100 * value:.1f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)
