"""Growth of time and memory with the image's size and with the number of faces."""

from collections.abc import Callable, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.structures import ImageList

from .first_step_masks import active_share, map_sizes, masks_of_faces, masks_of_share
from .images import synthetic_images
from .inference import Case, peak_memory
from .timing import spread
from .variants import Variant


def measure_sides(
    cfg: CfgNode,
    variants: Sequence[Variant],
    sides: Sequence[int],
    share: float,
    *,
    repeats: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Time and memory on square images, with a share of the STC levels' cells active.

    Args:
        sides: sides of the images, pixels.

    Returns:
        of each side what :func:`measure_point` gives, with "side".
    """
    points = []
    for side in sides:
        images = synthetic_images(cfg, (side, side), 1, seed)
        sizes = map_sizes(images.tensor.shape[-2:], cfg.MODEL.SRN.STC_LEVELS)
        masks = masks_of_share(sizes, share, 1, seed)
        case = Case(f"{side} x {side}", images, masks, repeats)
        points.append({"side": side, **measure_point(variants, case)})
    return points


def measure_faces(
    cfg: CfgNode,
    variants: Sequence[Variant],
    images: ImageList,
    numbers: Sequence[int],
    *,
    repeats: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Time and memory on one batch whose first step leaves what surrounds so many faces.

    Args:
        numbers: of faces of an image.

    Returns:
        of each number what :func:`measure_point` gives, with "faces".
    """
    sizes = map_sizes(images.tensor.shape[-2:], cfg.MODEL.SRN.STC_LEVELS)
    points = []
    for number in numbers:
        masks = masks_of_faces(sizes, number, len(images), seed)
        case = Case(f"{number} faces", images, masks, repeats)
        points.append({"faces": number, **measure_point(variants, case)})
    return points


def measure_point(variants: Sequence[Variant], case: Case) -> dict[str, Any]:
    """
    Returns:
        {"active_share", "variants": {name: {"spread": quartiles of the seconds, "memory_added",
        "memory_peak": bytes}}}; the run of which the memory is taken is the warm-up.
    """
    results: dict[str, dict[str, Any]] = {v.name: peak_memory(v, case) for v in variants}
    times = case.alternate({v.name: _imposed_run(v, case) for v in variants})
    for name, seconds in times.items():
        results[name]["spread"] = spread(seconds)._asdict()
    return {"active_share": active_share(case.masks), "variants": results}


def _imposed_run(variant: Variant, case: Case) -> Callable[[], None]:
    def run() -> None:
        with variant.imposed(case.masks):
            variant.run(case.images)

    return run
