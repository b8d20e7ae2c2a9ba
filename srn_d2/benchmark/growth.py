"""How time and memory grow with the image's size and with the number of faces."""

from collections.abc import Mapping, Sequence
from typing import Any

from detectron2.config import CfgNode
from detectron2.structures import ImageList
from torch import Tensor

from .first_step_masks import active_share, map_sizes, masks_of_faces, masks_of_share
from .images import synthetic_images
from .inference import peak_memory
from .timing import alternate, spread
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
        sides: of the images, pixels.

    Returns:
        of each side what :func:`measure_point` gives, with "side".
    """
    points = []
    for side in sides:
        images = synthetic_images(cfg, (side, side), 1, seed)
        sizes = map_sizes(images.tensor.shape[-2:], cfg.MODEL.SRN.STC_LEVELS)
        masks = masks_of_share(sizes, share, 1, seed)
        name = f"{side} x {side}"
        point = measure_point(variants, images, masks, repeats=repeats, description=name)
        points.append({"side": side, **point})
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
        name = f"{number} faces"
        point = measure_point(variants, images, masks, repeats=repeats, description=name)
        points.append({"faces": number, **point})
    return points


def measure_point(
    variants: Sequence[Variant],
    images: ImageList,
    masks: Mapping[str, Tensor],
    *,
    repeats: int,
    description: str,
) -> dict[str, Any]:
    """
    Returns:
        {"active_share", "variants": {name: {"spread": quartiles of the seconds, "memory_added",
        "memory_peak": bytes}}}; the run of which the memory is taken is the warm-up.
    """
    results: dict[str, dict[str, Any]] = {}
    runs = {}
    for variant in variants:
        with variant.imposed(masks):
            results[variant.name] = peak_memory(variant, images)
        runs[variant.name] = _imposed_run(variant, images, masks)
    device = images.tensor.device
    times = alternate(runs, repeats, warmup=0, device=device, description=description)
    for name, seconds in times.items():
        results[name]["spread"] = spread(seconds)._asdict()
    return {"active_share": active_share(masks), "variants": results}


def _imposed_run(variant: Variant, images: ImageList, masks: Mapping[str, Tensor]):
    def run() -> None:
        with variant.imposed(masks):
            variant.run(images)

    return run
