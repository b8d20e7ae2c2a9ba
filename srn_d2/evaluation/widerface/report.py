"""Face reports as JSON, as Markdown and as a folder with both and the plots."""

import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from srn_d2.atomic_file import atomic_path

from . import plots
from .face_measures import PAPER_RECALLS, OperatingPoint
from .face_report import OFFICIAL_IOU, FaceGroup, FaceReport

ABSENT = "-"  # in tables, for what does not exist
FALSE_POSITIVES_NOTE = (
    "At the highest score that reaches the recall; detections on faces that do not count in the "
    f"setting are not counted. {ABSENT}: not reached."
)


@dataclass(frozen=True)
class Heading:
    """The words of a report that say what was measured."""

    title: str = "WIDER FACE report"
    protocol: str = f"AP in %, official protocol; all but AP by IoU at IoU {OFFICIAL_IOU:g}."
    heights: str = "Of all faces that are not marked invalid, by annotated height."


WIDER_FACE = Heading()


def write_report(
    reports: Sequence[FaceReport], folder: str | os.PathLike, heading: Heading = WIDER_FACE
) -> list[Path]:
    """Write report.json, report.md and PNGs; the first report is the subject, the others compare.

    Returns:
        the files written.
    """
    folder = Path(folder)
    contents = [to_json(report) for report in reports]
    json_path, markdown_path = folder / "report.json", folder / "report.md"
    _write_text(json_path, json.dumps(contents, indent=1, allow_nan=False) + "\n")
    figures = {
        "precision_recall.png": plots.plot_precision_recall(reports),
        "ap_by_iou.png": plots.plot_ap_by_iou(reports),
        "false_positives_at_recall.png": plots.plot_false_positives(reports),
        "ap_by_height.png": plots.plot_groups(reports, by_height=True),
        "thresholds.png": plots.plot_thresholds(reports[0]),
    }
    if any(group.kind != "height" for group in reports[0].groups):
        figures["ap_by_attribute.png"] = plots.plot_groups(reports, by_height=False)
    for name, figure in figures.items():
        with atomic_path(folder / name) as draft:
            figure.savefig(draft, dpi=120)
    pictures = "\n".join(f"![{name[:-4].replace('_', ' ')}]({name})\n" for name in figures)
    _write_text(markdown_path, to_markdown(reports, heading) + "\n" + pictures)
    return [json_path, markdown_path, *(folder / name for name in figures)]


def to_json(report: FaceReport) -> dict[str, Any]:
    """The report as plain values; AP, precision and recall in 0 .. 1, NaN as None."""
    return {
        "name": report.name,
        "num_images": report.num_images,
        "num_detections": report.num_detections,
        "warnings": list(report.warnings),
        "settings": {
            setting: {
                "num_faces": report.results[setting][OFFICIAL_IOU].num_faces,
                "ap": {
                    f"{t:g}": _number(report.results[setting][t].ap) for t in report.iou_thresholds
                },
                "false_positives_at_recall": {
                    f"{recall:g}": _number(value)
                    for recall, value in zip(
                        PAPER_RECALLS, report.false_positives(setting), strict=True
                    )
                },
            }
            for setting in report.results
        },
        **({} if report.coco_ap is None else {"coco_ap": _coco_json(report)}),
        "groups": [
            {
                "kind": group.kind,
                "name": group.name,
                "num_faces": group.num_faces,
                "ap": {f"{t:g}": _number(group.ap[t]) for t in report.iou_thresholds},
                "recall": _number(group.recall),
            }
            for group in report.groups
        ],
        "thresholds": {
            "setting": report.main_setting,
            "recommended": {aim: _point(point) for aim, point in report.recommended.items()},
            "table": [_point(point) for point in report.table],
        },
    }


def to_markdown(reports: Sequence[FaceReport], heading: Heading = WIDER_FACE) -> str:
    """All tables; the ones of thresholds are about the first report alone."""
    first = reports[0]
    sections = [
        f"# {heading.title}: {', '.join(report.name for report in reports)}",
        f"{first.num_images} images; "
        + ", ".join(f"{r.name}: {r.num_detections} detections" for r in reports)
        + f". {heading.protocol}",
        *_warnings(reports),
        "## AP by IoU",
        ap_table(reports),
        "## False positives at a recall",
        FALSE_POSITIVES_NOTE,
        false_positive_table(reports),
        "## AP by face height",
        heading.heights,
        _group_table(reports, lambda group: group.kind == "height"),
    ]
    if any(group.kind != "height" for group in first.groups):
        sections += [
            "## AP by attribute",
            f"Of the faces of {first.main_setting.title()}. Every false positive counts against "
            "every group, so a rare one has a lower AP: compare detectors, not groups.",
            _group_table(reports, lambda group: group.kind != "height"),
        ]
    sections += [
        f"## Which score to choose ({first.name})",
        f"Over the faces of {first.main_setting.title()}.",
        point_table(first.recommended.items(), "aim"),
        point_table((("", point) for point in first.table), ""),
    ]
    return "\n\n".join(sections) + "\n"


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _warnings(reports: Sequence[FaceReport]) -> list[str]:
    lines = [f"- {report.name}: {line}" for report in reports for line in report.warnings]
    return ["## Warnings", "\n".join(lines)] if lines else []


def ap_table(reports: Sequence[FaceReport]) -> str:
    """A Markdown table of AP in % at each IoU threshold, a row for each detector and setting."""
    thresholds = reports[0].iou_thresholds
    rows = [
        [
            report.name,
            setting.title(),
            report.results[setting][OFFICIAL_IOU].num_faces,
            *(percent(report.results[setting][t].ap) for t in thresholds),
        ]
        for report in reports
        for setting in report.results
    ]
    for report in reports:
        if report.coco_ap is not None:
            num_faces = report.results[report.main_setting][OFFICIAL_IOU].num_faces
            mean = f" (mean {percent(coco_mean(report))})"
            row = [report.name, f"COCO-style{mean}", num_faces]
            rows.append([*row, *(percent(report.coco_ap[t]) for t in thresholds)])
    return table(["detector", "setting", "faces", *(f"IoU {t:g}" for t in thresholds)], rows)


def coco_mean(report: FaceReport) -> float:
    """COCO-style AP, the mean over the report's IoU thresholds."""
    return sum(report.coco_ap[t] for t in report.iou_thresholds) / len(report.iou_thresholds)


def _coco_json(report: FaceReport) -> dict[str, float | None]:
    by_iou = {f"{t:g}": _number(report.coco_ap[t]) for t in report.iou_thresholds}
    return {"mean": _number(coco_mean(report)), **by_iou}


def false_positive_table(reports: Sequence[FaceReport]) -> str:
    """A Markdown table of false positives at ``PAPER_RECALLS``; rows as in :func:`ap_table`."""
    rows = [
        [
            report.name,
            setting.title(),
            *(ABSENT if math.isnan(n) else f"{n:.0f}" for n in report.false_positives(setting)),
        ]
        for report in reports
        for setting in report.results
    ]
    return table(["detector", "setting", *(f"{100 * r:g} %" for r in PAPER_RECALLS)], rows)


def _group_table(reports: Sequence[FaceReport], chosen: Callable[[FaceGroup], bool]) -> str:
    thresholds = reports[0].iou_thresholds
    rows = [
        [
            report.name,
            "" if group.kind == "height" else group.kind,
            group.name,
            group.num_faces,
            percent(group.recall),
            *(percent(group.ap[t]) for t in thresholds),
        ]
        for report in reports
        for group in report.groups
        if chosen(group)
    ]
    header = ["detector", "", "group", "faces", "recall", *(f"AP IoU {t:g}" for t in thresholds)]
    if not any(row[1] for row in rows):
        rows, header = [row[:1] + row[2:] for row in rows], header[:1] + header[2:]
    return table(header, rows)


def point_table(points: Iterable[tuple[str, OperatingPoint]], label: str) -> str:
    """A Markdown table of precision, recall and false positives at each score.

    Args:
        points: a name and the point.
        label: heading of the first column, which has the names; "": the column is left out.
    """
    rows = [
        [
            name,
            ABSENT if math.isnan(point.score) else f"{point.score:.4g}",
            percent(point.precision),
            percent(point.recall),
            f"{point.false_positives_per_image:.3g}",
        ]
        for name, point in points
    ]
    header = [label, "score", "precision", "recall", "false positives an image"]
    if not label:
        rows, header = [row[1:] for row in rows], header[1:]
    return table(header, rows)


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table with the values as they are given."""
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def percent(value: float, decimals: int = 2) -> str:
    """A value in [0, 1] in percent."""
    return ABSENT if math.isnan(value) else f"{100 * value:.{decimals}f}"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _point(point: OperatingPoint) -> dict[str, float | None]:
    return {name: _number(value) for name, value in vars(point).items()}
