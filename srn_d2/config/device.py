"""Check of MODEL.DEVICE."""

import re

import torch
from detectron2.config import CfgNode

VALID_DEVICES = "'cpu', 'cuda', 'cuda:0' (the first GPU), 'cuda:1' ... and 'mps'"


def check_device(
    cfg: CfgNode,
    name: str = "MODEL.DEVICE",
    advice: str = "append `MODEL.DEVICE cpu` to the command",
    valid: str = VALID_DEVICES,
) -> None:
    """Raise an error where the config asks for a device that is not there.

    Args:
        cfg: config whose MODEL.DEVICE is checked.
        name: name of the user's setting, for the message.
        advice: remedy in the message where the device is not there.
        valid: valid values, for the message.

    Raises:
        ValueError: there is no such kind of device.
        RuntimeError: this machine, or this torch, has no such device.
    """
    device = cfg.MODEL.DEVICE
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise ValueError(f"{name} is {device!r}; valid are {valid}")
    if device == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError(
            f"{name} is 'mps' but this torch finds no Apple GPU, which needs macOS: {advice}"
        )
    if not device.startswith("cuda"):
        return
    if not torch.cuda.is_available():
        raise RuntimeError(
            f"{name} is {device!r} but torch finds no CUDA device: {advice}, or see "
            "`python -m srn_d2.doctor`"
        )
    index, number = torch.device(device).index or 0, torch.cuda.device_count()
    if index >= number:
        raise RuntimeError(
            f"{name} is {device!r} but the last of torch's {number} CUDA devices is "
            f"'cuda:{number - 1}'"
        )
