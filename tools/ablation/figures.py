"""A figure for each of the paper's claims; each function gives None without its rows."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import paper
from .measures import COARSE, FINE, IOUS, RECALLS
from .results import Results
from .rows import BASELINE, SINGLE_LEVEL_ROWS
from .tables import COMPARED_RECALL, OFFICIAL_IOU

_TITLES = {"retinanet": "RetinaNet", "stc": "STC", "str": "STR", "stc_str": "STC + STR"}


def plot_false_positives(results: Results, images: str) -> Figure | None:
    """Claim 1: STC removes false positives, on the fine levels."""
    if not (results.has(BASELINE) and results.has("stc")):
        return None
    figure, (axes, changes) = _panels(2)
    last = results.settings[-1]
    for row, color in ((BASELINE, "C0"), ("stc", "C1")):
        by_recall = [
            list(results.false_positives(images, row, last, recall).values()) for recall in RECALLS
        ]
        _plot_range(axes, RECALLS, by_recall, _TITLES[row], color)
        published = paper.FALSE_POSITIVES[row]
        label = f"{_TITLES[row]}, paper (3,226 images)"
        axes.plot(RECALLS, published, "--", color=color, alpha=0.5, label=label)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel=f"recall of {last.title()}", ylabel="false positives")
    axes.legend(fontsize="small")
    rows = [row for row in ("stc", "str") if results.has(row)]
    for offset, row in zip(_offsets(len(rows)), rows, strict=True):
        found = [
            results.false_positive_change(images, row, group, COMPARED_RECALL)
            for group in (FINE, COARSE)
        ]
        _plot_differences(changes, found, offset, _TITLES[row])
    changes.set_xlim(-0.6, 1.6)
    changes.set_xticks([0, 1], ["faces of P2 .. P4", "faces of P5 .. P7"])
    changes.set_ylabel(f"false positives at {100 * COMPARED_RECALL:g} % recall, change in %")
    changes.legend(fontsize="small")
    return figure


def plot_tightness(results: Results, images: str) -> Figure | None:
    """Claim 2: STR makes boxes tighter, on the coarse levels."""
    if not (results.has(BASELINE) and results.has("str")):
        return None
    figure, (axes, changes) = _panels(2)
    last = results.settings[-1]
    for row, color in ((BASELINE, "C0"), ("str", "C2")):
        by_iou = [list(results.ap(images, row, last, iou).values()) for iou in IOUS]
        _plot_range(axes, IOUS, by_iou, _TITLES[row], color)
        published = paper.AP_BY_IOU[row]
        axes.plot(IOUS, published, "--", color=color, alpha=0.5, label=f"{_TITLES[row]}, paper")
    axes.set(xlabel="IoU", ylabel=f"AP on {last.title()} in %", xticks=IOUS)
    axes.legend(fontsize="small")
    for offset, group, label in zip(
        _offsets(2), (FINE, COARSE), ("faces of P2 .. P4", "faces of P5 .. P7"), strict=True
    ):
        found = [results.ap_difference(images, "str", group, iou) for iou in IOUS]
        _plot_differences(changes, found, offset, label)
    changes.set_xticks(range(len(IOUS)), [f"IoU {iou:g}" for iou in IOUS])
    changes.set_ylabel("AP of STR minus RetinaNet's")
    changes.legend(fontsize="small")
    return figure


def plot_single_levels(results: Results, images: str) -> Figure | None:
    """Claim 3: STC helps on the fine levels only, STR on the coarse ones only."""
    if not results.has(BASELINE):
        return None
    steps = [s for s, names in SINGLE_LEVEL_ROWS.items() if any(map(results.has, names))]
    if not steps:
        return None
    figure, panels = _panels(len(steps))
    last = results.settings[-1]
    for axes, step in zip(panels, steps, strict=True):
        names = SINGLE_LEVEL_ROWS[step]
        found = [results.ap_difference(images, row, last, OFFICIAL_IOU) for row in names]
        _plot_differences(axes, found, -0.15, "ours")
        baseline = paper.AP[BASELINE][-1]
        published = [paper.AP[row][-1] - baseline for row in names]
        axes.bar(np.arange(len(names)) + 0.15, published, 0.3, label="paper", color="0.7")
        axes.set_xticks(range(len(names)), [name[-2:].upper() for name in names])
        axes.set(title=f"{step.upper()} on one level", ylabel=f"AP on {last.title()}, difference")
        axes.legend(fontsize="small")
    return figure


def plot_rfe(results: Results, images: str) -> Figure | None:
    """Claim 4: RFE adds a little."""
    if not (results.has("stc_str") and results.has("srn")):
        return None
    figure, [axes] = _panels(1)
    found = [
        results.ap_difference(images, "srn", setting, OFFICIAL_IOU, baseline="stc_str")
        for setting in results.settings
    ]
    _plot_differences(axes, found, -0.15, "ours")
    if tuple(results.settings) == paper.SETTINGS:
        published = np.subtract(paper.AP["srn"], paper.AP["stc_str"])
        axes.bar(np.arange(3) + 0.15, published, 0.3, label="paper", color="0.7")
    axes.set_xticks(range(len(found)), [setting.title() for setting in results.settings])
    axes.set_ylabel("AP with RFE minus without")
    axes.legend(fontsize="small")
    return figure


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5 * number, 4), layout="constrained")
    panels = list(np.atleast_1d(figure.subplots(1, number)))
    for axes in panels:
        axes.grid(alpha=0.3)
    return figure, panels


def _offsets(number: int) -> np.ndarray:
    return 0.3 * (np.arange(number) - (number - 1) / 2)


def _plot_range(
    axes: Axes, x: Sequence[float], values: Sequence[Sequence[float]], label: str, color: str
) -> None:
    """A line of the means over seeds, with their range."""
    table = np.array([list(v) for v in values], dtype=np.float64)  # (points, seeds)
    axes.plot(x, table.mean(axis=1), "o-", color=color, label=label, markersize=4)
    axes.fill_between(x, table.min(axis=1), table.max(axis=1), color=color, alpha=0.2)


def _plot_differences(axes: Axes, found: Sequence, offset: float, label: str) -> None:
    """Bars of differences, with their bootstrap intervals and a point for each seed."""
    places = [i for i, d in enumerate(found) if d is not None and not np.isnan(d.mean)]
    known = [found[i] for i in places]
    x = np.array(places) + offset
    axes.bar(x, [d.mean for d in known], 0.28, label=label, alpha=0.8)
    for at, difference in zip(x, known, strict=True):
        axes.plot([at, at], [difference.low, difference.high], color="black", linewidth=1)
        by_seed = list(difference.by_seed.values())
        axes.plot([at] * len(by_seed), by_seed, ".", color="black", markersize=4)
    axes.axhline(0, color="black", linewidth=0.8)
