"""AFW and PASCAL face from files: AP of several methods, as JSON, Markdown and a plot."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from srn_d2.evaluation.curve_plots import Curve, lower_limit, plot_curves

from .ap import ApResult, evaluate_ap, evaluate_toolbox_ap
from .files import ToolboxDetections, ToolboxFaces, to_ap_images

ZOOM_RECALL = 0.9  # the plot begins below the precisions there


class VocApMethod(NamedTuple):
    """The evaluation of one method's detections."""

    toolbox: ApResult
    plain: ApResult
    unknown_images: list[str]  # in the detections, not annotated; left out
    missing_images: list[str]  # annotated, not in the detections


def evaluate_detections(
    detections: ToolboxDetections, faces: Mapping[str, ToolboxFaces]
) -> VocApMethod:
    """Evaluate on all images of ``faces``; equal scores rank in the order of the file."""
    images, unknown = to_ap_images(dict(faces), detections)
    found = set(detections.images)
    missing = [name for name in faces if name not in found]
    return VocApMethod(evaluate_toolbox_ap(images), evaluate_ap(images), unknown, missing)


def to_markdown(title: str, annotations: str, methods: Mapping[str, VocApMethod]) -> str:
    """A table of both APs, with the annotation file and the number of counted faces."""
    rows = [
        [name, 100 * m.toolbox.ap, 100 * m.plain.ap, m.toolbox.num_faces, m.plain.num_faces]
        for name, m in methods.items()
    ]
    headers = ["method", "toolbox AP in %", "plain AP in %", "counted faces", "faces, plain"]
    table = tabulate(rows, headers, tablefmt="pipe", floatfmt=".4f")
    return f"# {title}\n\nAP at IoU 0.5; annotations: {annotations}.\n\n{table}\n"


def write_report(
    folder: Path,
    title: str,
    annotations: str,
    methods: Mapping[str, VocApMethod],
    about: Mapping[str, Any],
) -> list[Path]:
    """Write results.json (curves in full precision), report.md and precision_recall.png.

    Args:
        folder: is made where it is not there.
        title: the data set.
        annotations: the annotation file.
        methods: label -> evaluation.
        about: what else results.json says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / name for name in ("results.json", "report.md", "precision_recall.png")]
    content = {**about, "methods": {name: _method_json(m) for name, m in methods.items()}}
    paths[0].write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
    paths[1].write_text(to_markdown(title, annotations, methods), encoding="utf-8")
    ranked = sorted(methods.items(), key=lambda item: -np.nan_to_num(item[1].toolbox.ap))
    labels = {name: f"{name}: {100 * m.toolbox.ap:.2f}" for name, m in methods.items()}
    curves: dict[str, Curve] = {
        labels[name]: (m.toolbox.recall, m.toolbox.precision) for name, m in ranked
    }
    plot_curves(
        paths[2],
        f"{title}, IoU 0.5",
        curves,
        ("Recall", "Precision"),
        ((0.0, 1.005), (lower_limit(curves, ZOOM_RECALL), 1.01)),
        methods={label: k for k, label in enumerate(labels.values())},
        legend="toolbox AP in %",
    )
    return paths


def _method_json(method: VocApMethod) -> dict[str, Any]:
    result: dict[str, Any] = {
        "unknown_images": method.unknown_images,
        "missing_images": method.missing_images,
    }
    for name in ("toolbox", "plain"):
        curve: ApResult = getattr(method, name)
        arrays = ("precision", "recall", "scores")
        has_faces = curve.num_faces > 0  # else AP and recall are NaN
        result[name] = {"ap": curve.ap if has_faces else None, "counted_faces": curve.num_faces}
        result[name] |= {key: getattr(curve, key).tolist() for key in arrays}
        if not has_faces:
            result[name]["recall"] = [None] * len(curve.recall)
    return result
