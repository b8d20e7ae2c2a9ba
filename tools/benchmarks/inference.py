"""Speed of detectors: by the share of cells that the first step leaves, or on given images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.structures import ImageList
from torch import Tensor
from tqdm import tqdm

from srn_d2.modeling.srn import test_stc_threshold

from .first_step_masks import active_share, map_sizes, masks_of_share, surviving_cells
from .images import ImageReader
from .memory import measure_memory
from .stages import clock, mac_counter
from .timing import alternate, paired_ratios, spread
from .variants import AUTHORS, RETINANET, Variant

BASELINES = (AUTHORS, "dense", RETINANET)
"""Baseline variants of the speed-ups, if they are measured."""


@dataclass(frozen=True)
class Case:
    """Input of a measurement of alternating variants.

    Attributes:
        name: name in the results and of the progress bar.
        images: a normalised batch.
        masks: imposed masks of cells that survive the first step, see ``first_step_masks``; None:
            by the first step's scores.
        repeats: number of runs of each variant.
    """

    name: str
    images: ImageList
    masks: Mapping[str, Tensor] | None
    repeats: int

    def alternate(self, runs: Mapping[str, Callable[[], object]]) -> dict[str, list[float]]:
        """Seconds of each run; the caller has warmed them up."""
        device = self.images.tensor.device
        return alternate(runs, self.repeats, warmup=0, device=device, description=self.name)


def measure_shares(
    cfg: CfgNode,
    variants: Sequence[Variant],
    images: ImageList,
    shares: Sequence[float],
    *,
    repeats: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Measure the variants for each share of the STC levels' cells that the first step leaves.

    Returns:
        of each share what :func:`measure_case` gives, with "name" and "active_share".
    """
    sizes = map_sizes(images.tensor.shape[-2:], cfg.MODEL.SRN.STC_LEVELS)
    cases = []
    for share in shares:
        masks = masks_of_share(sizes, share, len(images), seed)
        case = Case(f"{100 * share:g} % active", images, masks, repeats)
        measured = measure_case(variants, case)
        cases.append({"name": case.name, "active_share": active_share(masks), **measured})
    return cases


def measure_case(variants: Sequence[Variant], case: Case) -> dict[str, Any]:
    """Operations, memory and, by turns, times of some variants on one batch.

    Returns:
        {"variants": {name: {"seconds": of each run, "spread": their quartiles, "stages": {stage:
        median seconds}} and what :func:`inspect` gives}, "speedups": see :func:`speedups`}.
    """
    inspections = tqdm(variants, desc=f"{case.name}, memory", unit="run", disable=None)
    results = {variant.name: inspect(variant, case) for variant in inspections}
    stages: dict[str, list[dict[str, float]]] = {variant.name: [] for variant in variants}
    times = case.alternate({v.name: _metered(v, case, stages[v.name].append) for v in variants})
    for name, seconds in times.items():
        results[name] |= {
            "seconds": seconds,
            "spread": spread(seconds)._asdict(),
            "stages": {
                stage: float(np.median([run[stage] for run in stages[name]]))
                for stage in stages[name][0]
            },
        }
    return {"variants": results, "speedups": speedups(times)}


def inspect(variant: Variant, case: Case) -> dict[str, Any]:
    """Count operations and detections, and measure memory.

    The first of its two runs warms the variant up, so that the second one's memory is its usual.
    Where it has no stages, ONNX Runtime runs it, in which no operation can be counted.

    Returns:
        {"macs": {stage: multiply-adds} or {}, "memory_added": bytes beyond weights and libraries,
        "memory_peak": bytes with them (of all variants), "detections": of all images}.
    """
    macs: dict[str, float] = {}
    with variant.imposed(case.masks):
        if variant.stages:
            with mac_counter() as meter:
                detections = variant.measured(case.images, meter)
            macs = meter.totals
        else:
            detections = variant.run(case.images)
    memory = peak_memory(variant, case)
    return {"macs": macs, **memory, "detections": sum(map(len, detections))}


def peak_memory(variant: Variant, case: Case) -> dict[str, int]:
    """Bytes of one run, see :func:`inspect`."""
    with variant.imposed(case.masks), measure_memory(case.images.tensor.device) as memory:
        variant.run(case.images)
    return {"memory_added": memory.added, "memory_peak": memory.peak}


def _metered(
    variant: Variant, case: Case, keep: Callable[[dict[str, float]], None]
) -> Callable[[], None]:
    """A run whose stages' seconds go to ``keep``."""

    def run() -> None:
        meter = clock(case.images.tensor.device)
        with variant.imposed(case.masks):
            variant.measured(case.images, meter)
        keep(meter.totals)

    return run


def speedups(times: Mapping[str, Sequence[float]]) -> dict[str, dict[str, dict[str, float]]]:
    """Speed-up over each baseline: {baseline: {name: distribution over paired runs}}."""
    return {
        baseline: {
            name: distribution(paired_ratios(seconds, times[baseline]))
            for name, seconds in times.items()
            if name != baseline
        }
        for baseline in BASELINES
        if baseline in times
    }


# --- given images --------------------------------------------------------------------------------


def measure_images(
    cfg: CfgNode, variants: Sequence[Variant], paths: Sequence[Path], *, repeats: int, warmup: int
) -> dict[str, Any]:
    """Measure the variants, by turns, on each of some images, with what the first step leaves.

    Args:
        repeats: runs of each variant on each image; their median is used.
        warmup: untimed runs before them.

    Returns:
        {"images": [{"name", "height", "width", "active_share", "seconds": {variant: seconds}}],
        "active_share": their :func:`distribution`, "mean_seconds": {variant: of an image},
        "total_speedups": {baseline: {variant: ratio of the total times}}, "speedups": as
        :func:`speedups`, of each image's times}.
    """
    read = ImageReader(cfg)
    rows = []
    for path in tqdm(paths, desc="images", unit="image", disable=None):
        images = read(path)
        runs = {v.name: lambda v=v, images=images: v.run(images) for v in variants}
        with _watched_share(cfg, variants) as shares:
            times = alternate(runs, repeats, warmup=warmup, device=images.tensor.device)
        height, width = images.image_sizes[0]
        share = shares[0] if shares else None
        seconds = {name: spread(values).median for name, values in times.items()}
        row = {"name": path.name, "height": height, "width": width}
        rows.append({**row, "active_share": share, "seconds": seconds})
    times = {v.name: [row["seconds"][v.name] for row in rows] for v in variants}
    means = {name: float(np.mean(values)) for name, values in times.items()}
    shares = [row["active_share"] for row in rows if row["active_share"] is not None]
    return {
        "images": rows,
        "active_share": distribution(shares) if shares else None,
        "mean_seconds": means,
        "total_speedups": {
            baseline: {name: means[baseline] / mean for name, mean in means.items()}
            for baseline in BASELINES
            if baseline in means
        },
        "speedups": speedups(times),
    }


@contextmanager
def _watched_share(cfg: CfgNode, variants: Sequence[Variant]) -> Iterator[list[float]]:
    """Within the context, collect the share of the STC levels' cells that the first step leaves.

    One value for each run of one of the variants; none if no variant has a first step.
    """
    levels, threshold = cfg.MODEL.SRN.STC_LEVELS, test_stc_threshold(cfg)
    shares: list[float] = []

    def watch(scores: list) -> list:
        cells = surviving_cells(scores, levels, threshold)
        shares.append(active_share(cells))
        return scores

    watched = next((v for v in variants if v.first_step is not None), None)
    with nullcontext() if watched is None else watched.with_scores(watch):
        yield shares


def distribution(values: Sequence[float]) -> dict[str, float]:
    """Least, quartiles, most and mean of some values."""
    mean = float(np.mean(values))
    return {"least": min(values), **spread(values)._asdict(), "most": max(values), "mean": mean}
