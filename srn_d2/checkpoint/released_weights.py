"""Conversion of the authors' released checkpoint to this project's names.

Conversion only renames keys. Source of the layout: the authors' published SRN.pth.
"""

import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

RESNET50_BLOCKS = (3, 4, 6, 3)
"""Residual blocks of layer1 .. layer4, which are detectron2's res2 .. res5."""

HEAD_PREFIXES = ("cls_subnet.", "box_subnet.")
"""Key prefixes that are unique to the released layout."""

COUNTER = "num_batches_tracked"
"""BatchNorm's count of training batches, unused in a frozen one; old torch does not write it."""


class ReleasedLayoutError(ValueError):
    """A file's keys are not those of the released checkpoint."""


def load_released_checkpoint(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read a file of the released layout, and rename its weights to this project's names.

    The file is read without executing anything in it.

    Raises:
        OSError, pickle.UnpicklingError: if it cannot be read, or holds more than plain data.
        ReleasedLayoutError: if its keys are not those of the released layout.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if not is_released_checkpoint(checkpoint):
        raise ReleasedLayoutError("This holds no weights of the released layout")
    return convert_released_weights(released_state_dict(checkpoint))


def is_released_checkpoint(checkpoint: Any) -> bool:
    """Return True if a loaded file has the released layout, complete or not."""
    weights = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, Mapping) else ()
    return any(str(key).removeprefix("module.").startswith(HEAD_PREFIXES) for key in weights)


def released_state_dict(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The weights in a loaded file: entry "state_dict" or the whole file, without "module."."""
    weights = checkpoint.get("state_dict", checkpoint)
    if all(key.startswith("module.") for key in weights):  # saved from DataParallel
        return {key.removeprefix("module."): value for key, value in weights.items()}
    return dict(weights)


def convert_released_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of the released layout to those of configs/srn_R50_released.yaml.

    Args:
        weights: all keys of the layout, as :func:`released_state_dict` gives. BatchNorm's
            ``num_batches_tracked`` may lack, and are dropped.

    Raises:
        ReleasedLayoutError: if a key is unknown or missing; the message lists all such.
    """
    names = released_names()
    problems = [
        *(f"{key}: missing in the file" for key in names if key not in weights),
        *(
            f"{key}: in the file, not in the released layout"
            for key in weights
            if key not in names and not _is_counter(key, names)
        ),
    ]
    if problems:
        raise ReleasedLayoutError(
            f"This is not the released checkpoint's layout, {len(problems)} keys are unmatched:\n  "
            + "\n  ".join(problems)
        )
    return {name: weights[key] for key, name in names.items()}


def released_names() -> dict[str, str]:
    """The released layout's name of every weight -> this project's name."""
    modules = {**_bottom_up_modules(), **_pyramid_modules(), **_head_modules()}
    names = {}
    for released, ours in modules.items():
        fields = ("weight",) if f"{ours}.norm" in modules.values() else ("weight", "bias")
        if ours.endswith(".norm"):
            fields += ("running_mean", "running_var")
        names.update({f"{released}.{field}": f"{ours}.{field}" for field in fields})
    return names


def _bottom_up_modules() -> dict[str, str]:
    """Torchvision's names of ResNet-50's modules -> detectron2's, under this project's backbone."""
    names = {"conv1": "stem.conv1", "bn1": "stem.conv1.norm"}
    for layer, num_blocks in enumerate(RESNET50_BLOCKS, start=1):
        for block in range(num_blocks):
            theirs, ours = f"layer{layer}.{block}", f"res{layer + 1}.{block}"
            for conv in (1, 2, 3):
                names[f"{theirs}.conv{conv}"] = f"{ours}.conv{conv}"
                names[f"{theirs}.bn{conv}"] = f"{ours}.conv{conv}.norm"
        first, first_ours = f"layer{layer}.0", f"res{layer + 1}.0"
        names[f"{first}.downsample.0"] = f"{first_ours}.shortcut"
        names[f"{first}.downsample.1"] = f"{first_ours}.shortcut.norm"
    return {theirs: f"backbone.bottom_up.{ours}" for theirs, ours in names.items()}


def _pyramid_modules() -> dict[str, str]:
    names = {"layer5": "c6", "layer6": "c7", "p6_conv": "p6", "p7_conv": "p7"}
    names.update({f"c{i}_lateral": f"laterals.c{i}" for i in (2, 3, 4, 5)})
    names.update({f"p{i}_conv": f"outputs.p{i}" for i in (2, 3, 4, 5)})
    names.update({f"c{i}_conv": f"first_step_convs.c{i}" for i in (2, 3, 4, 5, 6, 7)})
    return {theirs: f"backbone.{ours}" for theirs, ours in names.items()}


def _head_modules() -> dict[str, str]:
    names = {"cls_subnet_pred": "cls_score", "box_subnet_pred": "bbox_pred"}
    for theirs, ours in (("cls_subnet", "cls_subnet"), ("box_subnet", "bbox_subnet")):
        names.update({f"{theirs}.{i}": f"{ours}.{i}" for i in (0, 3)})  # 3x3 before and after RFE
        for branch in (0, 1, 2, 3):  # 1x5, 5x1, 1x3, 3x1, as rfe.KERNELS
            for i in (0, 2, 4):
                names[f"{theirs}.2.branch{branch}.{i}"] = f"{ours}.2.branches.{branch}.{i}"
        names[f"{theirs}.2.cated_conv.0"] = f"{ours}.2.fuse.0"
    return {theirs: f"head.{ours}" for theirs, ours in names.items()}


def _is_counter(key: str, names: Mapping[str, str]) -> bool:
    module, _, field = key.rpartition(".")
    return field == COUNTER and f"{module}.running_mean" in names
