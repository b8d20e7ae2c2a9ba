#!/usr/bin/env python
"""Make the start of a training from a trained model: a larger network that computes the same.

python tools/grow_model.py --model lite --config-file configs/srn_efflite1.yaml \\
    --output output/start.pth
python train_net.py --config-file configs/srn_efflite1.yaml MODEL.WEIGHTS output/start.pth

The config may have more channels than the trained model (MODEL.FPN.OUT_CHANNELS, or a wider
backbone), and more residual blocks at the end of a stage of its backbone. All else must be the
same. Weights of the trained model fill the first channels. What it has learnt does not read the
added ones, as these weights begin at 0; the added ones read all and begin at random. An added block
begins as a copy of the block before it, with a last convolution of 0, so that it adds nothing to
its input.

Before the file is written, both networks are run on noise and must predict the same.

Source: Net2Net (Chen, Goodfellow and Shlens, ICLR 2016), with zeros in place of split weights.

Exit status: 0, or 2 if the networks do not go together or something cannot be read or written.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import torch
from detectron2.modeling import build_model
from torch import Tensor, nn

from srn_d2.atomic_file import atomic_path
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.cli.arguments import add_overrides, parse_command_line
from srn_d2.config import build_cfg
from srn_d2.error_messages import USER_ERRORS, message_of
from srn_d2.model_files import PREFIX, find_shipped_model
from srn_d2.modeling import SRN

BLOCK = re.compile(r"(.*\.blocks\.\d+)\.(\d+)")
"""Name of a residual block in timm's networks: its stage, and its position there."""


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        weights = grow(args.model, args.config_file, args.opts)
        with atomic_path(args.output) as draft:
            torch.save({"model": weights}, draft)
    except USER_ERRORS as error:
        print(f"error: {message_of(error)}", file=sys.stderr)
        return 2
    print(f"Written: {args.output}")
    return 0


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", default="lite", help="trained model of the package (default: lite)"
    )
    parser.add_argument("--config-file", required=True, help="of the larger network")
    parser.add_argument("--output", type=Path, required=True, help="a .pth file")
    add_overrides(parser)
    return parse_command_line(parser, argv)


@torch.no_grad()
def grow(name: str, config_file: str, opts: Sequence[str]) -> dict[str, Tensor]:
    """Weights of the network of ``config_file``, which computes what the trained one does.

    Args:
        name: a trained model of the package.
        config_file: config of the larger network; its MODEL.WEIGHTS are not read.
        opts: KEY VALUE pairs over this config.

    Raises:
        ValueError: the networks do not go together; the message names the first weight.
    """
    trained = find_shipped_model(name)
    old = build(str(trained.config_file), [])
    SRNCheckpointer(old, strict=True).load(f"{PREFIX}{name}")
    new = build(config_file, opts)
    old_weights, new_weights = old.state_dict(), new.state_dict()
    added = list(added_blocks(old, new))
    for block in added:
        copy_block_before(new_weights, old_weights, block)
        make_identity(new.get_submodule(block), block)
    inside_added = tuple(f"{block}." for block in added)
    for key, value in new_weights.items():
        if not key.startswith(inside_added):
            fill_first_channels(key, value, old_weights.get(key))
    for key in old_weights:
        if key not in new_weights:
            raise ValueError(f"{key} of the trained network is absent from the larger one")
    check_same_predictions(old, new)
    return new.state_dict()


def build(config_file: str, opts: Sequence[str]) -> SRN:
    return build_model(build_cfg(config_file, [*opts, "MODEL.DEVICE", "cpu"])).eval()


def added_blocks(old: SRN, new: SRN) -> Iterator[str]:
    """Names of the residual blocks that only the larger network has, in order."""
    old_names = {name for name, _ in old.named_modules()}
    for name, _ in new.named_modules():
        if BLOCK.fullmatch(name) and name not in old_names:
            yield name


def copy_block_before(
    new_weights: dict[str, Tensor], old_weights: dict[str, Tensor], block: str
) -> None:
    """Let a block begin with the weights of the last trained block of its stage.

    Raises:
        ValueError: there is none, or its layers differ.
    """
    stage, position = BLOCK.fullmatch(block).groups()
    before = next(
        (
            f"{stage}.{index}."
            for index in reversed(range(int(position)))
            if any(key.startswith(f"{stage}.{index}.") for key in old_weights)
        ),
        None,
    )
    if before is None:
        raise ValueError(f"{block}: the trained network has no such stage")
    for key, value in new_weights.items():
        if key.startswith(f"{block}."):
            source = before + key.removeprefix(f"{block}.")
            fill_first_channels(key, value, old_weights.get(source))


def fill_first_channels(name: str, value: Tensor, trained: Tensor | None) -> None:
    """Copy a trained tensor into the first channels of a larger one, in place.

    What the trained outputs read of the added inputs becomes 0.

    Args:
        name: for the error's message.
        value: (O', I', ..) or (O',), at least as large in the first two dimensions.
        trained: (O, I, ..) or (O,).

    Raises:
        ValueError: there is no trained tensor, or it does not fit.
    """
    shape = tuple(value.shape)
    trained_shape = None if trained is None else tuple(trained.shape)
    if (
        trained_shape is None
        or len(trained_shape) != len(shape)
        or any(old > new for old, new in zip(trained_shape[:2], shape[:2], strict=True))
        or trained_shape[2:] != shape[2:]
    ):
        raise ValueError(
            f"{name} has the shape {shape} in the config's network, "
            f"{trained_shape or 'none'} in the trained one, which is to fit into it"
        )
    if trained_shape == shape:
        value.copy_(trained)
        return
    outputs, *inputs = trained_shape
    first = value[:outputs]
    if inputs:
        first[:, inputs[0] :] = 0
        first = first[:, : inputs[0]]
    first.copy_(trained)


def make_identity(block: nn.Module, name: str) -> None:
    """Let a residual block of timm add 0 to its input, such that it can learn to add something.

    Raises:
        ValueError: the block is not residual.
    """
    if not getattr(block, "has_skip", False):
        raise ValueError(f"{name}, which only the larger network has, is not residual")
    conv, norm = (
        [module for module in block.modules() if isinstance(module, kind)][-1]
        for kind in (nn.Conv2d, nn.BatchNorm2d)
    )
    # Not the normalisation's weight: if that is frozen, nothing in the block would have a gradient.
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(norm.bias)
    nn.init.zeros_(norm.running_mean)


def check_same_predictions(old: SRN, new: SRN) -> None:
    """Compare the two networks on noise.

    Raises:
        ValueError: they predict differently.
    """
    noise = torch.randint(256, (3, 128, 128), generator=torch.Generator().manual_seed(0)).byte()
    for x, y in zip(predictions(new, noise), predictions(old, noise), strict=True):
        if x.shape != y.shape or not torch.allclose(x, y, rtol=1e-3, atol=1e-3):
            raise ValueError("with the same weights the two networks predict differently")


def predictions(model: SRN, image: Tensor) -> list[Tensor]:
    """Scores and deltas of both steps, from a uint8 image (3, H, W)."""
    maps = model.backbone(model.preprocess_image([{"image": image}]).tensor)
    features = [maps[name] for name in model.head.level_selection.features]
    return [x for levels in model.head(features) for x in levels if x is not None]


if __name__ == "__main__":
    sys.exit(main())
