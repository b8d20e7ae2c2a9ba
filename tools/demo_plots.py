"""Pictures and plots of tools/demo_report.py: detections and annotated faces, losses."""

import enum
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, Instances, pairwise_ioa, pairwise_iou
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from srn_d2.atomic_file import atomic_path
from srn_d2.inference.drawing import draw_boxes

# IoU at which a detection has found a face, as for AP50.
FOUND_IOU = 0.5


class Outcome(enum.Enum):
    """Outcome of a detection or of an annotated face; the value is its colour."""

    FOUND = "lime"
    FALSE = "red"
    MISSED = "yellow"
    IGNORED = "grey"


def match_detections(
    detected: Boxes, annotated: Boxes, is_ignored: torch.Tensor
) -> tuple[list[Outcome], list[Outcome]]:
    """Tell found faces from false detections and from missed faces, as AP50 counts them.

    In this order each detection finds the face with which it overlaps most, of those not found
    yet, if the IoU is at least 0.5. One that finds none but has at least half of its area in an
    ignore region is ignored.

    Args:
        detected: N boxes, best first.
        annotated: M boxes.
        is_ignored: (M,) bool, which of them are ignore regions.

    Returns:
        N outcomes of the detections and M of the annotated boxes.
    """
    ious = pairwise_iou(detected, annotated)  # (N, M)
    ious[:, is_ignored] = 0
    in_ignore_region = (pairwise_ioa(annotated[is_ignored], detected) >= 0.5).any(dim=0)  # (N,)
    faces = [Outcome.IGNORED if ignored else Outcome.MISSED for ignored in is_ignored.tolist()]
    outcomes = []
    for row, is_in_region in zip(ious, in_ignore_region.tolist(), strict=True):
        best = int(row.argmax()) if len(row) else 0
        if len(row) and row[best] >= FOUND_IOU:
            faces[best] = Outcome.FOUND
            ious[:, best] = 0
            outcomes.append(Outcome.FOUND)
        else:
            outcomes.append(Outcome.IGNORED if is_in_region else Outcome.FALSE)
    return outcomes, faces


def draw_comparison(
    image: np.ndarray, detections: Instances, annotated: Boxes, is_ignored: torch.Tensor
) -> np.ndarray:
    """Draw detections in the colours of their outcomes, and the faces that were missed.

    Args:
        image: uint8 (H, W, 3), RGB.
        detections: has ``pred_boxes``, best first.
        annotated, is_ignored: see ``match_detections``.
    """
    detected = detections.pred_boxes
    outcomes, faces = match_detections(detected, annotated, is_ignored)
    is_missed = torch.tensor([face is Outcome.MISSED for face in faces], dtype=torch.bool)
    boxes = torch.cat([detected.tensor, annotated.tensor[is_missed]]).numpy()
    missed = [Outcome.MISSED] * int(is_missed.sum())
    return draw_boxes(image, boxes, [outcome.value for outcome in outcomes + missed])


def image_grid(images: Sequence[np.ndarray], columns: int, cell: int) -> np.ndarray:
    """Put images side by side, each fitted into a square cell, on white.

    Args:
        images: uint8 (H, W, 3) of any sizes.
        columns: cells in a row.
        cell: side of a cell in pixels.

    Returns:
        uint8 (rows * cell, columns * cell, 3).
    """
    rows = -(-len(images) // columns)
    grid = np.full((rows * cell, columns * cell, 3), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        scale = (cell - 4) / max(height, width)  # 4: a gap between images
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(image, size, interpolation=interpolation)
        top = index // columns * cell + (cell - size[1]) // 2
        left = index % columns * cell + (cell - size[0]) // 2
        grid[top : top + size[1], left : left + size[0]] = small
    return grid


def save_comparison(path: str | Path, grid: np.ndarray, title: str) -> None:
    """Save a grid of pictures drawn by ``draw_comparison``, with a title and the colours' meaning.

    Args:
        path: a PNG file.
        grid: uint8 (H, W, 3), RGB.
        title: what is shown.
    """
    dpi, margin = 100, 0.7  # margin: inches above the pictures
    width, height = grid.shape[1] / dpi, grid.shape[0] / dpi
    figure = Figure(figsize=(width, height + margin), dpi=dpi)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, height / (height + margin)))
    axes.imshow(grid, aspect="auto")
    axes.axis("off")
    figure.suptitle(title, y=1 - 0.12 / (height + margin), fontsize=12)
    meanings = {
        Outcome.FOUND: "found",
        Outcome.FALSE: "false detection",
        Outcome.MISSED: "missed face",
        Outcome.IGNORED: "in an ignore region",
    }
    patches = [
        Patch(facecolor=outcome.value, edgecolor="black", label=meaning)
        for outcome, meaning in meanings.items()
    ]
    anchor = (0.5, 1 - 0.3 / (height + margin))
    figure.legend(
        handles=patches, loc="upper center", bbox_to_anchor=anchor, ncols=4, frameon=False
    )
    with atomic_path(path) as draft:
        figure.savefig(draft)


def read_metrics(path: str | Path) -> list[dict[str, float]]:
    """Read the scalars that detectron2's JSONWriter wrote, one dict for each iteration.

    Of an iteration written twice, as after a resumed run, the later values are taken. A last line
    that a killed run left incomplete is left out.

    Args:
        path: metrics.json.
    """
    by_iteration: dict[int, dict[str, float]] = {}
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: {error}") from error
        by_iteration.setdefault(record["iteration"], {}).update(record)
    return [by_iteration[iteration] for iteration in sorted(by_iteration)]


def plot_training(
    path: str | Path, records: Sequence[Mapping[str, float]], metric: str = "bbox/AP50"
) -> None:
    """Plot every loss of a run, and a metric of its evaluations, over the iterations.

    Args:
        path: a PNG file.
        records: as ``read_metrics`` gives.
        metric: in percent.
    """
    figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = sorted({name for record in records for name in record if "loss" in name})
    for name in names:
        axes.plot(*_series(records, name), label=name, linewidth=2 if name == "total_loss" else 1)
    axes.set(xlabel="iteration", ylabel="loss", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    iterations, values = _series(records, metric)
    if iterations:
        right = axes.twinx()
        right.plot(iterations, values, "k--o", markersize=4, label=metric)
        right.set(ylabel=f"{metric} (%)", ylim=(0, 100))
        right.legend(loc="lower left")
    with atomic_path(path) as draft:
        figure.savefig(draft)


def _series(records: Sequence[Mapping[str, float]], name: str) -> tuple[list[int], list[float]]:
    """Iterations and values of a scalar, where it was written."""
    pairs = [(record["iteration"], record[name]) for record in records if name in record]
    return [iteration for iteration, _ in pairs], [value for _, value in pairs]
