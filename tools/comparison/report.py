"""The comparison as Markdown, JSON and plots."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from image_lists import ALL_IMAGES, ImageList
from srn_d2.atomic_file import atomic_path
from srn_d2.evaluation.widerface.ap import SETTINGS
from srn_d2.evaluation.widerface.face_report import ALL_FACES_SETTING, OFFICIAL_IOU
from srn_d2.evaluation.widerface.plots import plot_precision_recall
from srn_d2.evaluation.widerface.report import (
    ABSENT,
    FALSE_POSITIVES_NOTE,
    ap_table,
    false_positive_table,
)
from srn_d2.evaluation.widerface.report import to_json as report_to_json

from . import tables
from .plots import plot_ap_against_seconds
from .rows import Row

MARKDOWN, JSON = "comparison.md", "comparison.json"
CURVES, TIMES = "precision_recall.png", "ap_against_seconds.png"
_HARD = ALL_FACES_SETTING.title()


def write_comparison(
    rows: Sequence[Row],
    lists: Sequence[ImageList],
    latency: Mapping[str, Any] | None,
    output: Path,
) -> list[Path]:
    """Write the tables as Markdown and JSON, and the plots of those that were evaluated.

    A plot of an earlier run for which there are no figures now is removed.

    Args:
        rows: in the order of the tables.
        lists: of images, the first of all.
        latency: content of latency.json, if it is there.
        output: folder.

    Returns:
        the files written.
    """
    reports = [row.report for row in rows if row.report]
    curves = plot_precision_recall(reports) if reports else None
    if curves is not None:
        curves.set_size_inches(15, 5.5)
    figures = {TIMES: plot_ap_against_seconds(rows, lists), CURVES: curves}
    for name, figure in figures.items():
        if figure is None:
            (output / name).unlink(missing_ok=True)
            continue
        with atomic_path(output / name) as draft:
            figure.savefig(draft, dpi=120)
    contents = {
        JSON: json.dumps(to_json(rows, lists, latency), indent=1, allow_nan=False) + "\n",
        MARKDOWN: to_markdown(rows, lists, latency, has_times=figures[TIMES] is not None),
    }
    for name, text in contents.items():
        with atomic_path(output / name) as draft:
            draft.write_text(text, encoding="utf-8")
    plots = [name for name, figure in figures.items() if figure is not None]
    return [output / name for name in (*contents, *plots)]


def to_markdown(
    rows: Sequence[Row],
    lists: Sequence[ImageList],
    latency: Mapping[str, Any] | None,
    *,
    has_times: bool = False,
) -> str:
    """The main table, then those of details, list by list of the images.

    Args:
        rows, lists, latency: see :func:`write_comparison`.
        has_times: there is a plot of AP against time.
    """
    whole, *others = lists
    text = f"{len(whole.image_ids)} images of WIDER FACE's validation set"
    if others:
        text += "; of these " + ", ".join(f"{x.name}: {len(x.image_ids)}" for x in others)
    parts = [
        "# Face detectors side by side",
        f"{text}. AP in %, official protocol.",
        tables.main_table(rows, lists),
    ]
    scales = tables.scale_table(rows, lists)
    if scales:
        parts.append(f"Bold: the scale at which a detector has its highest AP on {_HARD}.")
    if latency:
        parts.append(_latency_conditions(latency))
    problems = [f"- {row.label}: {problem}" for row in rows for problem in row.problems]
    if problems:
        parts += ["## Missing", "\n".join(problems)]
    if scales:
        parts += [f"## Best scale on {_HARD}", scales]
    if has_times:
        parts += ["## AP against time", f"![AP on {_HARD} against seconds an image]({TIMES})"]
    if any(row.report for row in rows):
        for images in lists:
            parts += _list_section(rows, images)
        parts += _thresholds(rows)
        parts += ["## Precision and recall", f"![Precision against recall]({CURVES})"]
    parts += ["## Settings for AP", tables.settings_table(rows)]
    warnings = [
        f"- {row.label}: {text}" for row in rows if row.report for text in row.report.warnings
    ]
    if warnings:
        parts += ["## Warnings", "\n".join(warnings)]
    return "\n\n".join(parts) + "\n"


def _list_section(rows: Sequence[Row], images: ImageList) -> list[str]:
    reports = tables.reports_of(rows, images.name)
    return [
        f"## Images: {images.name} ({len(images.image_ids)})",
        "### AP by IoU",
        ap_table(reports),
        "### False positives at a recall",
        FALSE_POSITIVES_NOTE,
        false_positive_table(reports),
        "### AP by face height",
        tables.height_table(reports),
    ]


def _thresholds(rows: Sequence[Row]) -> list[str]:
    parts = [
        "## Score thresholds",
        f"Over the faces of {_HARD}, all images: of the scores that reach the aim the one of "
        f"highest recall. {ABSENT}: no score does.",
    ]
    for aim, text in tables.threshold_tables(tables.reports_of(rows, ALL_IMAGES)).items():
        parts += [f"### {aim[0].upper()}{aim[1:]}", text]
    return parts


def to_json(
    rows: Sequence[Row], lists: Sequence[ImageList], latency: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The same as plain values; AP in 0 .. 1, NaN as None."""
    return {
        "images": len(lists[0].image_ids),
        "lists": {images.name: len(images.image_ids) for images in lists},
        "latency_environment": latency["environment"] if latency else None,
        "best_scale": {images.name: tables.best_scales(rows, images.name) for images in lists},
        "detectors": {row.name: _row_to_json(row) for row in rows},
    }


def _row_to_json(row: Row) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "title": row.title,
        "scale": row.scale,
        "settings": row.settings,
        "predictions": str(row.predictions) if row.predictions else None,
        "problems": list(row.problems),
        "seconds": row.seconds._asdict() if row.seconds else None,
    }
    if row.report:
        results = row.report.results
        entry["ap"] = {setting: _number(results[setting][OFFICIAL_IOU].ap) for setting in SETTINGS}
        entry["ap_by_height"] = {
            group.name: _number(group.ap[OFFICIAL_IOU])
            for group in row.report.groups
            if group.kind == "height"
        }
        entry["detections"] = row.report.num_detections
        entry["warnings"] = list(row.report.warnings)
        entry["lists"] = {name: report_to_json(report) for name, report in row.reports.items()}
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


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
