"""Plots of face reports; each function returns a matplotlib Figure, free of pyplot's state."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .face_measures import PAPER_RECALLS
from .face_report import OFFICIAL_IOU, FaceReport

_MAX_LEGEND_NAME = 30  # characters


def plot_precision_recall(reports: Sequence[FaceReport]) -> Figure:
    """The protocol's curves at IoU 0.5, one panel a setting, all detectors overlaid."""
    settings = list(reports[0].results)
    figure, panels = _panels(len(settings))
    for axes, setting in zip(panels, settings, strict=True):
        for report in reports:
            result = report.results[setting][OFFICIAL_IOU]
            label = f"{_short(report.name)} ({_percent(result.ap)})"
            axes.plot(result.recall, result.precision, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", title=setting.title())
        axes.legend(loc="lower left", fontsize="small", title="AP in %")
    panels[0].set_ylabel("precision")
    return figure


def plot_ap_by_iou(reports: Sequence[FaceReport]) -> Figure:
    """AP against the IoU threshold, one panel a setting."""
    settings = list(reports[0].results)
    figure, panels = _panels(len(settings))
    for axes, setting in zip(panels, settings, strict=True):
        for report in reports:
            thresholds = sorted(report.iou_thresholds)
            ap = [100 * report.results[setting][t].ap for t in thresholds]
            axes.plot(thresholds, ap, marker="o", label=_short(report.name))
            if report.coco_ap is not None:
                label, coco_ap = f"{_short(report.name)}, COCO-style", report.coco_ap
                axes.plot(thresholds, [100 * coco_ap[t] for t in thresholds], "s--", label=label)
        axes.set(ylim=(0, 102), xlabel="IoU threshold", title=setting.title())
        axes.set_xticks(sorted(reports[0].iou_thresholds))
        axes.legend(loc="lower left", fontsize="small")
    panels[0].set_ylabel("AP in %")
    return figure


def plot_false_positives(reports: Sequence[FaceReport]) -> Figure:
    """False positives against recall, at every score; points at the recalls of the table."""
    settings = list(reports[0].results)
    figure, panels = _panels(len(settings))
    for axes, setting in zip(panels, settings, strict=True):
        for report in reports:
            curve = report.curves[setting]
            (line,) = axes.plot(curve.recall, curve.false_positives, label=_short(report.name))
            at_recalls = report.false_positives(setting)
            axes.plot(PAPER_RECALLS, at_recalls, "o", color=line.get_color(), markersize=4)
        axes.set_yscale("symlog", linthresh=1)
        axes.set(xlim=(0, 1), xlabel="recall", title=setting.title())
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper left", fontsize="small")
    panels[0].set_ylabel("false positives")
    return figure


def plot_groups(reports: Sequence[FaceReport], by_height: bool) -> Figure:
    """AP at IoU 0.5 of the height bins, or of the attributes' values, as bars."""
    groups = [
        [group for group in report.groups if (group.kind == "height") == by_height]
        for report in reports
    ]
    names = [
        f"{group.name if by_height else f'{group.kind}: {group.name}'}\n{group.num_faces} faces"
        for group in groups[0]
    ]
    figure = Figure(figsize=(6.5, 1.5 + 0.5 * len(names)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(reports)
    for i, (report, own) in enumerate(zip(reports, groups, strict=True)):
        ap = [100 * group.ap[OFFICIAL_IOU] for group in own]
        y = np.arange(len(own)) + (i - (len(reports) - 1) / 2) * height
        bars = axes.barh(y, np.nan_to_num(ap), height, label=_short(report.name))
        axes.bar_label(bars, [_percent(value / 100) for value in ap], padding=2, fontsize="small")
    axes.set_yticks(range(len(names)), names, fontsize="small")
    axes.invert_yaxis()
    axes.set(xlim=(0, 110), xlabel=f"AP in % at IoU {OFFICIAL_IOU:g}")
    axes.legend(loc="lower right", fontsize="small")
    return figure


def plot_thresholds(report: FaceReport) -> Figure:
    """Precision, recall and false positives an image against the score threshold."""
    curve = report.curves[report.main_setting]
    figure, (axes, lower) = _panels(2)
    axes.plot(curve.scores, curve.precision, label="precision")
    axes.plot(curve.scores, curve.recall, label="recall")
    best = report.recommended["best F1"]
    if not math.isnan(best.score):
        axes.axvline(best.score, color="gray", linestyle=":", label=f"best F1: {best.score:.3g}")
    axes.set(ylim=(0, 1.02), xlabel="score threshold", title=report.main_setting.title())
    axes.legend(fontsize="small")
    lower.plot(curve.scores, curve.false_positives / max(report.num_images, 1))
    lower.set_yscale("symlog", linthresh=0.01)
    lower.set(xlabel="score threshold", title="false positives an image")
    lower.set_ylim(bottom=0)
    return figure


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(4.2 * number, 3.8), layout="constrained")
    panels = list(figure.subplots(1, number, squeeze=False)[0])
    for axes in panels:
        axes.grid(alpha=0.3)
    return figure, panels


def _short(name: str) -> str:
    return name if len(name) <= _MAX_LEGEND_NAME else "..." + name[-_MAX_LEGEND_NAME + 3 :]


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"
