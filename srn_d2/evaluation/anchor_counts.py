"""Positives and negatives of the second step with and without STC (paper section 3.2)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.utils.events import EventStorage
from matplotlib.figure import Figure
from tabulate import tabulate

from srn_d2.modeling.srn import SRN


@dataclass(frozen=True)
class AnchorCounts:
    """Anchors of the second step that are matched to a face (positives) and to none (negatives).

    Means over images. "before" is without STC, "after" with it.
    """

    num_images: int
    positives_before_stc: float
    negatives_before_stc: float
    positives_after_stc: float
    negatives_after_stc: float


def count_anchors(model: SRN, batches: Iterable[list[dict]]) -> AnchorCounts:
    """Run the model's own matching over training samples.

    The network runs as in inference, so that no statistics of BatchNorm change.

    Args:
        model: trained, or STC removes what random scores make it remove.
        batches: lists of training samples (with "instances"), such as the training loader's.

    Raises:
        ValueError: there is no batch.
    """
    totals = dict.fromkeys(AnchorCounts.__dataclass_fields__, 0.0)
    with _matching_only(model), EventStorage() as storage:
        for batch in batches:
            model(batch)
            scalars = {name: value for name, (value, _) in storage.latest().items()}
            totals["num_images"] += len(batch)
            for name in ("positives_before_stc", "negatives_before_stc", "negatives_after_stc"):
                totals[name] += len(batch) * scalars[f"srn/{name}"]
            # What is left after STC are the positives that the second step trains on.
            totals["positives_after_stc"] += len(batch) * scalars["srn/positives_s2"]
            storage.step()
    num_images = int(totals.pop("num_images"))
    if not num_images:
        raise ValueError("There is no image to count anchors on")
    return AnchorCounts(num_images, **{k: value / num_images for k, value in totals.items()})


def anchor_table(counts: AnchorCounts) -> str:
    """A Markdown table: positives, negatives and their ratio, without and with STC."""
    rows = [
        [name, f"{positives:.1f}", f"{negatives:.1f}", _ratio(positives, negatives)]
        for name, positives, negatives in (
            ("without STC", counts.positives_before_stc, counts.negatives_before_stc),
            ("with STC", counts.positives_after_stc, counts.negatives_after_stc),
        )
    ]
    header = ["second step", "positives an image", "negatives an image", "positives : negatives"]
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def plot_anchor_counts(counts: AnchorCounts) -> Figure:
    """Positives and negatives of the second step, without and with STC, as bars."""
    figure = Figure(figsize=(5, 3.8), layout="constrained")
    axes = figure.subplots()
    for offset, label, values in (
        (-0.2, "positives", (counts.positives_before_stc, counts.positives_after_stc)),
        (0.2, "negatives", (counts.negatives_before_stc, counts.negatives_after_stc)),
    ):
        bars = axes.bar(np.arange(2) + offset, values, 0.4, label=label)
        axes.bar_label(bars, [f"{value:,.1f}" for value in values], fontsize="small")
    axes.set_xticks([0, 1], ["without STC", "with STC"])
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylabel("anchors an image")
    axes.legend(fontsize="small")
    return figure


def _ratio(positives: float, negatives: float) -> str:
    return f"1 : {negatives / positives:.1f}" if positives else "-"


@contextmanager
def _matching_only(model: SRN) -> Iterator[None]:
    """The model takes training samples, but its layers are in evaluation mode; no gradients."""
    was_training = model.training
    model.eval()
    model.training = True  # of the model alone, not of the layers
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
