"""FDDB from files: curves of several methods in both modes, as JSON, Markdown and plots."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from srn_d2.evaluation.curve_plots import Curve, lower_limit, plot_curves

from .files import FddbDetections
from .overlaps import FddbImage
from .roc import FddbCurves, Modes, fddb_curves

MAX_FALSE_POSITIVES = 1000
PLOTTED_FALSE_POSITIVES = 2000  # where published curves end
ZOOM_FALSE_POSITIVES = 20  # the plots begin below the rates there
KINDS = ("discrete", "continuous")


class FddbMethod(NamedTuple):
    """The evaluation of one method's detections."""

    curves: Modes[FddbCurves]
    unknown_images: list[str]  # in the detections, not in the lists; left out
    missing_images: list[str]  # in the lists, not in the detections; without detections


def evaluate_detections(
    detections: Mapping[str, FddbDetections],
    faces: Mapping[str, np.ndarray],
    sizes: Mapping[str, tuple[int, int]],
    sizes_file: str | os.PathLike = "image sizes",
) -> FddbMethod:
    """Evaluate on all images of ``faces``.

    Args:
        detections: of each image.
        faces: the (M, 5) ellipses of each image.
        sizes: (height, width) of each image with detections.
        sizes_file: where they are from, for the error's message.

    Raises:
        ValueError: an image with detections has no size.
    """
    nothing = FddbDetections(np.zeros((0, 4)), np.zeros(0))
    unsized = [
        name
        for name in faces
        if name in detections and len(detections[name].scores) and name not in sizes
    ]
    if unsized:
        raise ValueError(
            f"{sizes_file}: {len(unsized)} images with detections, {unsized[0]} first, have no "
            "size: what lies outside the image does not count"
        )
    curves = fddb_curves(
        FddbImage(ellipses, *detections.get(name, nothing), sizes.get(name, (0, 0)))
        for name, ellipses in faces.items()
    )
    return FddbMethod(
        curves,
        [name for name in detections if name not in faces],
        [name for name in faces if name not in detections],
    )


def to_markdown(methods: Mapping[str, FddbMethod]) -> str:
    """A table of the rates at 1,000 false positives in both modes, and their difference."""
    rows = []
    for name, method in methods.items():
        rates = [100 * np.array(c.rates_at(MAX_FALSE_POSITIVES)) for c in method.curves]
        end = int(method.curves.official.false_positives.max(initial=0))
        rows += [
            [name, "official", *rates[0], end],
            [name, "optimal", *rates[1], ""],
            [name, "difference", *(rates[1] - rates[0]), ""],
        ]
    headers = ["method", "assignment", "discrete in %", "continuous in %", "all false positives"]
    table = tabulate(rows, headers, tablefmt="pipe", floatfmt=".4f")
    num_faces = next(iter(methods.values())).curves.official.num_faces
    return (
        f"# FDDB\n\nTrue positive rates at {MAX_FALSE_POSITIVES} false positives; {num_faces} "
        f"faces.\n\n{table}\n"
    )


def to_json(methods: Mapping[str, FddbMethod]) -> dict[str, Any]:
    """All curves in full precision, and the rates at 1,000 false positives."""
    return {name: _method_json(method) for name, method in methods.items()}


def write_report(
    folder: Path,
    methods: Mapping[str, FddbMethod],
    published: Mapping[str, Mapping[str, Curve]],
    about: Mapping[str, Any],
) -> list[Path]:
    """Write results.json, report.md and a plot of each kind of curve; returns the files.

    Args:
        folder: is made where it is not there.
        methods: label -> evaluation.
        published: "discrete", "continuous" -> label -> false positives and rates of a ROC file.
        about: what else results.json says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    others = {
        kind: {
            name: {"false_positives": x.tolist(), "rates": y.tolist()} for name, (x, y) in c.items()
        }
        for kind, c in published.items()
    }
    content = {**about, "methods": to_json(methods), "published": others}
    paths = [folder / "results.json", folder / "report.md"]
    paths[0].write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    paths[1].write_text(to_markdown(methods), encoding="utf-8")
    for kind in KINDS:
        paths.append(folder / f"{kind}_roc.png")
        _plot(paths[-1], kind, methods, published.get(kind, {}))
    return paths


def _plot(
    path: Path, kind: str, methods: Mapping[str, FddbMethod], published: Mapping[str, Curve]
) -> None:
    """Plot the official mode's curves of a kind, and those of ROC files; the best one first."""
    found: dict[str, tuple[float, Curve]] = {}
    for name, method in methods.items():
        official = method.curves.official
        curve = official.false_positives, getattr(official, kind)
        found[name] = official.rates_at(MAX_FALSE_POSITIVES)[KINDS.index(kind)], curve
    for name, (false_positives, rates) in published.items():
        label = f"{name}, published" if name in found else name
        reached = rates[false_positives <= MAX_FALSE_POSITIVES]
        found[label] = reached.max(initial=0.0), (false_positives, rates)
    ranked = sorted(found.items(), key=lambda item: -np.nan_to_num(item[1][0]))
    labels = {name: f"{name}: {100 * rate:.2f}" for name, (rate, _) in ranked}
    curves = {labels[name]: curve for name, (_, curve) in ranked}
    plot_curves(
        path,
        f"FDDB, {kind} score",
        curves,
        ("False positives", "True positive rate"),
        ((0, PLOTTED_FALSE_POSITIVES), (lower_limit(curves, ZOOM_FALSE_POSITIVES), 1.0)),
        methods={labels[name]: k for k, name in enumerate(methods)},
        legend=f"% at {MAX_FALSE_POSITIVES:,} false positives",
    )


def _method_json(method: FddbMethod) -> dict[str, Any]:
    result: dict[str, Any] = {
        "unknown_images": method.unknown_images,
        "missing_images": method.missing_images,
    }
    for mode, curves in method.curves._asdict().items():
        discrete, continuous = curves.rates_at(MAX_FALSE_POSITIVES)
        arrays = ("thresholds", "false_positives", *KINDS)
        result[mode] = {name: getattr(curves, name).tolist() for name in arrays}
        result[mode] |= {
            "num_faces": curves.num_faces,
            f"Disc{MAX_FALSE_POSITIVES}": discrete,
            f"Cont{MAX_FALSE_POSITIVES}": continuous,
        }
    result["optimal_minus_official"] = {
        name: result["optimal"][name] - result["official"][name]
        for name in (f"Disc{MAX_FALSE_POSITIVES}", f"Cont{MAX_FALSE_POSITIVES}")
    }
    return result
