"""Plots of ROC and precision-recall curves of several methods."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

Curve = tuple[np.ndarray, np.ndarray]
"""x and y of a curve's points, both (P,)."""


def plot_curves(
    path: Path,
    title: str,
    curves: Mapping[str, Curve],
    axes: tuple[str, str],
    limits: tuple[float, float],
    *,
    dashed: frozenset[str] = frozenset(),
) -> None:
    """Write a PNG with one line for each method.

    Args:
        path: of the file.
        title: above the plot.
        curves: label -> points.
        axes: labels of x and y.
        limits: the largest x, and the largest y, both from 0.
        dashed: labels whose line is dashed.
    """
    from matplotlib.figure import Figure  # half a second

    figure = Figure(figsize=(7, 5.5), layout="constrained")
    plot = figure.subplots()
    for label, (x, y) in curves.items():
        plot.plot(x, y, label=label, linestyle="--" if label in dashed else "-", linewidth=1.6)
    plot.set(title=title, xlabel=axes[0], ylabel=axes[1])
    plot.set(xlim=(0, limits[0]), ylim=(0, limits[1]))
    plot.grid(alpha=0.3)
    if curves:
        plot.legend(loc="lower left" if "recall" in axes[0].lower() else "lower right")
    figure.savefig(path, dpi=120)
