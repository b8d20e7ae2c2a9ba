"""Results as JSON, Markdown and pictures, all in one folder.

Each command leaves <command>.json; report.md is made anew from all of them that are there.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from tabulate import tabulate

from srn_d2.atomic_file import atomic_path

from . import plots
from .stages import INFERENCE_STAGES, SECOND_STEP
from .variants import BFLOAT16

REPORT = "report.md"
ABSENT = "-"  # in tables, for what does not exist
Result = Mapping[str, Any]


def write_result(folder: Path, command: str, result: Result) -> list[Path]:
    """Write a command's JSON and pictures, and the report of all commands so far.

    Args:
        command: one of :data:`SECTIONS`.
        result: its "environment" and "settings", and what it measured.

    Returns:
        the files written.
    """
    paths = [folder / f"{command}.json"]
    write_text(paths[0], json.dumps(result, indent=1, allow_nan=False) + "\n")
    for name, draw in _pictures(command, result).items():
        paths.append(folder / f"{name}.png")
        with atomic_path(paths[-1]) as draft:
            draw().savefig(draft, dpi=120)
    results = {}
    for name in SECTIONS:
        path = folder / f"{name}.json"
        if path.is_file():
            results[name] = json.loads(path.read_text(encoding="utf-8"))
    write_text(folder / REPORT, to_markdown(results))
    return [*paths, folder / REPORT]


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")


def to_markdown(results: Mapping[str, Result]) -> str:
    """The report of some commands' results, in the order of :data:`SECTIONS`."""
    parts = ["# Benchmarks"]
    for command, (title, body) in SECTIONS.items():
        if command in results:
            result = results[command]
            pictures = [f"![{name}]({name}.png)" for name in _pictures(command, result)]
            parts += [f"## {title}", _conditions(result), *body(result), *pictures]
    return "\n\n".join(parts) + "\n"


def _pictures(command: str, result: Result) -> dict[str, Callable[[], Figure]]:
    """File name without suffix -> function that draws the picture."""
    if command == "inference":
        pictures = {command: partial(plots.plot_cases, result["cases"])}
        if len(result["cases"]) > 1 and result["cases"][0]["speedups"]:
            pictures["speedup_by_share"] = partial(plots.plot_speedups, result["cases"])
        return pictures
    if command == "images":
        return {command: partial(plots.plot_images, result)}
    if command == "growth":
        labels = {"side": "side of the image in pixels", "faces": "faces"}
        return {
            f"growth_{key}": partial(plots.plot_growth, result[key], key, label)
            for key, label in labels.items()
            if result[key]
        }
    pictures = {command: partial(plots.plot_stages, result["stages"], SECTIONS[command][0])}
    if result.get("memory"):
        pictures["training_memory"] = partial(plots.plot_memory, result["memory"])
    return pictures


def _conditions(result: Result) -> str:
    """A paragraph on the environment and the settings of the measurement."""
    machine = result["environment"]
    units = ", ".join(machine["bfloat16"]) or "none"
    settings = ", ".join(f"{name} {value}" for name, value in result["settings"].items())
    return (
        f"{machine['device']}, {machine['threads']} threads of {machine['cores']} cores, "
        f"bfloat16 units: {units}; torch {machine['torch']}, Python {machine['python']}; load "
        f"before the start {machine['load']:.2f}.\n\n{settings}."
    )


# --- inference ---------------------------------------------------------------------------------


def _inference(result: Result) -> Iterable[str]:
    yield (
        "Medians with quartiles in brackets. Runs alternate; x authors: how many times as fast as "
        "the authors' way, by pairs of runs of one round. MiB: the peak of a run beyond weights "
        "and libraries. The 3x3 output convolutions of p2 .. p4 count as second step."
    )
    yield from _break_even(result["cases"])
    for case in result["cases"]:
        yield f"### {case['name']}"
        yield f"{100 * case['active_share']:.2f} % of the STC levels' cells survive the first step."
        yield _time_table(case)
        yield _stage_table(case, "stages", "milliseconds", 1e3)
        yield _stage_table(case, "macs", "GMAC", 1e-9)


def _break_even(cases: Sequence[Result]) -> Iterable[str]:
    """Cost of the sparse second step, where dense and sparse were both measured."""
    rows = []
    for case, suffix in product(cases, ("", BFLOAT16)):
        variants = case["variants"]
        if {"dense" + suffix, "sparse" + suffix} <= set(variants):
            dense, sparse = (variants[name + suffix] for name in ("dense", "sparse"))
            work, time = (
                sparse[key][SECOND_STEP] / dense[key][SECOND_STEP] for key in ("macs", "stages")
            )
            rows.append(["sparse" + suffix, case["name"], 100 * work, 100 * time, work / time])
    if rows:
        yield (
            "The sparse second step against the dense one. Both take the same time at about the "
            "share of multiply-adds in the last column."
        )
        yield table(["variant", "cells", "multiply-adds %", "time %", "break-even"], rows)


def _time_table(case: Result) -> str:
    baselines = case["speedups"]
    rows = []
    for name, result in case["variants"].items():
        ratios = [
            _quartiles(ratio[name]) if name in ratio else ABSENT for ratio in baselines.values()
        ]
        memory = result["memory_added"] / plots.MEBIBYTE
        milliseconds = {key: 1e3 * value for key, value in result["spread"].items()}
        rows.append([name, _quartiles(milliseconds), *ratios, memory, result["detections"]])
    header = ["variant", "milliseconds", *(f"x {name}" for name in baselines), "MiB", "detections"]
    return table(header, rows)


def _stage_table(case: Result, key: str, unit: str, scale: float) -> str:
    rows = []
    for name, result in case["variants"].items():
        stages = result[key]
        if len(stages) > 1:  # ONNX Runtime is timed as a whole
            values = [scale * stages[s] if s in stages else ABSENT for s in INFERENCE_STAGES]
            rows.append([name, *values, scale * sum(stages.values())])
    return table([unit, *INFERENCE_STAGES, "sum"], rows)


def _images(result: Result) -> Iterable[str]:
    yield f"{len(result['images'])} images, one by one; the variants' runs alternate on each."
    if result["active_share"] is not None:
        shares = {name: f"{100 * value:.2f}" for name, value in result["active_share"].items()}
        yield "Share of the STC levels' cells that survive the first step, in %, over the images:"
        yield table(list(shares), [list(shares.values())])
    seconds = result["mean_seconds"]
    yield table(["variant", "mean milliseconds"], [[n, 1e3 * s] for n, s in seconds.items()])
    rows = []
    for baseline, of_totals in result["total_speedups"].items():
        for name, ratio in result["speedups"][baseline].items():
            ends = f"{_number(ratio['least'])} .. {_number(ratio['most'])}"
            ratios = [ratio["mean"], _quartiles(ratio), ends]
            rows.append([f"{name} : {baseline}", of_totals[name], *ratios])
    if rows:
        yield "How many times as fast: by the total times, and over the images, each for itself."
        header = ["variant : baseline", "of the totals", "mean", "median [quartiles]", "range"]
        yield table(header, rows)


# --- growth, training, loader --------------------------------------------------------------------


def _growth(result: Result) -> Iterable[str]:
    yield "Medians with quartiles; memory is the peak beyond weights and libraries."
    for key in ("side", "faces"):
        if not result[key]:
            continue
        rows = []
        for point in result[key]:
            for name, values in point["variants"].items():
                milliseconds = {k: 1e3 * v for k, v in values["spread"].items()}
                memory = values["memory_added"] / plots.MEBIBYTE
                share = f"{100 * point['active_share']:.2f}"
                rows.append([str(point[key]), share, name, _quartiles(milliseconds), memory])
        yield table([key, "active %", "variant", "milliseconds", "MiB"], rows)


def _training(result: Result) -> Iterable[str]:
    share = 100 * result["matching_and_losses_share"]
    yield (
        f"{result['images']} images with {result['faces']} faces each: "
        f"{_quartiles(result['spread'])} seconds a step; matching and losses, with the losses' "
        f"backward, take {share:.1f} % of it. What torch's profiler says is in "
        "[training_profile.txt](training_profile.txt)."
    )
    yield _stages(result["stages"])
    if result["memory"]:
        rows = [
            [str(p["faces"]), *(p[key] / plots.MEBIBYTE for key in ("memory_added", "memory_peak"))]
            for p in result["memory"]
        ]
        yield "Peak memory of a step:"
        yield table(["faces an image", "MiB beyond the weights", "MiB in all"], rows)


def _loader(result: Result) -> Iterable[str]:
    milliseconds = {key: 1e3 * value for key, value in result["spread"].items()}
    yield (
        f"{result['images_per_second']:.1f} images a second on one thread, of {result['source']}, "
        f"to {result['crop_size']} x {result['crop_size']} pixels; {_quartiles(milliseconds)} "
        f"milliseconds an image ({result['images']} images)."
    )
    yield _stages(result["stages"])


def _stages(stages: Mapping[str, float]) -> str:
    total = sum(stages.values())
    rows = [[name, 1e3 * s, f"{100 * s / total:.1f} %"] for name, s in stages.items()]
    return table(["stage", "milliseconds", "share"], rows)


SECTIONS = {
    "inference": ("Inference", _inference),
    "images": ("Inference on given images", _images),
    "growth": ("Growth of time and memory", _growth),
    "training": ("A training step", _training),
    "loader": ("Training images of one data worker", _loader),
}
"""Command -> title and body of its section."""


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; floating-point numbers with three digits at least."""
    cells = [[_number(cell) if isinstance(cell, float) else cell for cell in row] for row in rows]
    return tabulate(cells, header, tablefmt="github", disable_numparse=True)


def _quartiles(spread: Mapping[str, float]) -> str:
    lower, median, upper = (_number(spread[key]) for key in ("lower", "median", "upper"))
    return f"{median} [{lower}, {upper}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}" if value else "0"
