"""Plots of the curves of several methods."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]
"""x and y of a curve's points, both (P,)."""

Limits = tuple[float, float]
"""The ends of an axis."""

NUM_COLORS = 10  # matplotlib's cycle; further methods get another kind of line
LINE_STYLES = ("-", "-.", ":", (0, (5, 1)))
NUM_GRAYS = 3
MAX_LABEL = 48  # characters


def plot_curves(
    path: Path,
    title: str,
    curves: Mapping[str, Curve],
    axes: tuple[str, str],
    limits: tuple[Limits, Limits],
    *,
    methods: Mapping[str, int],
    legend: str,
) -> None:
    """Write a PNG with one line for each method; a dot is where a line ends within the plot.

    Args:
        path: of the file.
        title: above the plot.
        curves: label -> points, in the order of the legend.
        axes: labels of x and y.
        limits: of x and of y.
        methods: label -> number, which chooses the colour, so that a method has the same in
            several plots; other curves are of other programs: thin, dashed, grey and on top.
        legend: the legend's title.
    """
    from matplotlib.figure import Figure  # half a second

    figure = Figure(figsize=(7, 5.5))
    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.1, top=0.93)
    plot = figure.subplots()
    num_others = 0
    for label, (x, y) in curves.items():
        if label in methods:
            number = methods[label]
            style = {"color": f"C{number % NUM_COLORS}", "linewidth": 1.8, "zorder": 2}
            style["linestyle"] = LINE_STYLES[number // NUM_COLORS % len(LINE_STYLES)]
        else:
            gray = f"{num_others % NUM_GRAYS * 0.25:g}"
            style = {"color": gray, "linewidth": 1.0, "zorder": 3, "linestyle": "--"}
            num_others += 1
        (line,) = plot.plot(x, y, label=_short(label), **style)
        if len(x) and x[-1] < limits[0][1]:
            plot.plot(x[-1:], y[-1:], "o", color=line.get_color(), markersize=4, zorder=3)
    plot.set(title=title, xlabel=axes[0], ylabel=axes[1], xlim=limits[0], ylim=limits[1])
    plot.grid(alpha=0.3)
    if curves:
        at = "lower left" if "recall" in axes[0].lower() else "lower right"
        plot.legend(loc=at, title=legend, fontsize="small", framealpha=0.9)
    figure.savefig(path, dpi=120)


def lower_limit(curves: Mapping[str, Curve], x: float) -> float:
    """The tenth below all curves' values at ``x``, or at their ends if these come earlier."""
    values = [
        float(y[max(np.searchsorted(xs, x, side="right") - 1, 0)])
        for xs, y in curves.values()
        if len(xs)
    ]
    return max(math.floor(10 * min(values, default=0) - 1) / 10, 0.0)


def _short(label: str) -> str:
    return label if len(label) <= MAX_LABEL else "..." + label[3 - MAX_LABEL :]
