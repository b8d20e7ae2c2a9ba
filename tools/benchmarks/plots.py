"""Plots of what was measured; each function returns a matplotlib Figure, free of pyplot's state."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from .stages import INFERENCE_STAGES

_STAGE_COLORS = dict(zip(INFERENCE_STAGES, ("C0", "C2", "C1", "C3", "C7"), strict=True))
MEBIBYTE = 2**20


def plot_cases(cases: Sequence[Mapping[str, Any]]) -> Figure:
    """A panel for each case: each variant's median time as a bar, in stages where they are known.

    Whiskers are the quartiles; the numbers are milliseconds.
    """
    variants = list(cases[0]["variants"])
    height = 1.2 + 0.36 * len(variants)
    figure = Figure(figsize=(8, height * len(cases)), layout="constrained")
    panels = figure.subplots(len(cases), 1, sharex=True, squeeze=False)[:, 0]
    for axes, case in zip(panels, cases, strict=True):
        for row, result in enumerate(case["variants"].values()):
            _draw_stages(axes, row, result)
        axes.set_yticks(range(len(variants)), variants)
        axes.invert_yaxis()
        axes.set_title(case["name"], fontsize="medium")
        axes.grid(axis="x", alpha=0.3)
    panels[-1].set_xlabel("milliseconds")
    panels[-1].set_xlim(right=1.12 * panels[-1].get_xlim()[1])  # room for the numbers
    handles = [Patch(color=color, label=stage) for stage, color in _STAGE_COLORS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def _draw_stages(axes: Axes, row: int, result: Mapping[str, Any]) -> None:
    quartiles, stages = result["spread"], result["stages"]
    median = 1e3 * quartiles["median"]
    # Medians of stages need not add up to the median of the whole: their bars share its length.
    scale = median / sum(stages.values())
    left = 0.0
    for stage in INFERENCE_STAGES:
        if stage in stages and len(stages) > 1:
            width = scale * stages[stage]
            axes.barh(row, width, left=left, color=_STAGE_COLORS[stage])
            left += width
    if left == 0.0:
        axes.barh(row, median, color="0.8")
    whiskers = [[median - 1e3 * quartiles["lower"]], [1e3 * quartiles["upper"] - median]]
    axes.errorbar(median, row, xerr=whiskers, color="black", capsize=3)
    axes.text(1e3 * quartiles["upper"], row, f"  {median:,.0f}", va="center", fontsize="small")


def plot_speedups(cases: Sequence[Mapping[str, Any]]) -> Figure:
    """Plot the speed-up of the variants over each baseline against the active share.

    Whiskers are the quartiles over paired runs.
    """
    baselines = list(cases[0]["speedups"])
    figure = Figure(figsize=(4.5 * len(baselines), 3.8), layout="constrained")
    panels = figure.subplots(1, len(baselines), squeeze=False)[0]
    shares = [100 * case["active_share"] for case in cases]
    colors = {name: f"C{index}" for index, name in enumerate(cases[0]["variants"])}
    for axes, baseline in zip(panels, baselines, strict=True):
        for name in cases[0]["speedups"][baseline]:
            ratios = [case["speedups"][baseline][name] for case in cases]
            medians = [ratio["median"] for ratio in ratios]
            below = [ratio["median"] - ratio["lower"] for ratio in ratios]
            above = [ratio["upper"] - ratio["median"] for ratio in ratios]
            style = {"color": colors[name], "marker": "o", "capsize": 3}
            axes.errorbar(shares, medians, (below, above), label=name, **style)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set(xlabel="active cells in %", title=f"times as fast as {baseline}")
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    return figure


def plot_growth(points: Sequence[Mapping[str, Any]], key: str, label: str) -> Figure:
    """Time and memory of each variant against ``points``' ``key``, with axes in logarithms."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    x = [point[key] for point in points]
    for name in points[0]["variants"]:
        results = [point["variants"][name] for point in points]
        seconds = [result["spread"]["median"] for result in results]
        low, high = ([r["spread"][end] for r in results] for end in ("lower", "upper"))
        [line] = time_axes.plot(x, seconds, marker="o", markersize=4, label=name)
        time_axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2)
        memory = [result["memory_added"] / MEBIBYTE for result in results]
        memory_axes.plot(x, memory, marker="o", markersize=4, label=name)
    time_axes.set_ylabel("seconds")
    memory_axes.set_ylabel("MiB beyond the weights")
    for axes in (time_axes, memory_axes):
        axes.set_xscale("log", base=2 if key == "side" else 10)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(x, [str(value) for value in x])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    time_axes.legend(fontsize="small")
    return figure


def plot_images(result: Mapping[str, Any]) -> Figure:
    """The images' active share as a histogram, and how the speed-up depends on it."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    histogram, scatter = figure.subplots(1, 2)
    rows = [row for row in result["images"] if row["active_share"] is not None]
    shares = [100 * row["active_share"] for row in rows]
    histogram.hist(shares, bins=20)
    histogram.set(xlabel="active cells in %", ylabel="images")
    baseline = next(iter(result["speedups"]), None)
    for name in result["speedups"].get(baseline, ()):
        ratios = [row["seconds"][baseline] / row["seconds"][name] for row in rows]
        scatter.plot(shares, ratios, ".", label=name)
    scatter.axhline(1.0, color="black", linewidth=0.8)
    scatter.set(xlabel="active cells in %", ylabel=f"times as fast as {baseline}")
    scatter.grid(alpha=0.3)
    if scatter.lines[1:]:
        scatter.legend(fontsize="small")
    return figure


def plot_stages(stages: Mapping[str, float], title: str) -> Figure:
    """Milliseconds of each stage as bars."""
    figure = Figure(figsize=(7, 1.2 + 0.32 * len(stages)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(range(len(stages)), [1e3 * seconds for seconds in stages.values()])
    axes.bar_label(bars, [f"{1e3 * s:,.1f}" for s in stages.values()], padding=3, fontsize="small")
    axes.set_yticks(range(len(stages)), stages)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="milliseconds", title=title)
    return figure


def plot_memory(points: Sequence[Mapping[str, Any]]) -> Figure:
    """The memory of a training step against the number of faces of an image."""
    figure = Figure(figsize=(5, 3.8), layout="constrained")
    axes = figure.subplots()
    faces = [point["faces"] for point in points]
    axes.plot(faces, [p["memory_added"] / MEBIBYTE for p in points], marker="o")
    axes.set_xscale("log")
    axes.set_xticks(faces, [str(number) for number in faces])
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=0)
    axes.set(xlabel="faces an image", ylabel="MiB of a step, beyond the weights")
    axes.grid(alpha=0.3)
    return figure
