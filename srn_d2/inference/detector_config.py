"""Arguments of ``FaceDetector`` in a config, for PyTorch."""

import torch
from detectron2.config import CfgNode

from srn_d2.config import check_device
from srn_d2.config.device import VALID_DEVICES as config_devices

VALID_DEVICES = f"'auto' (a CUDA GPU if there is one), {config_devices}"


def configure(cfg: CfgNode, device: str | torch.device, dtype: str, multi_scale: bool) -> None:
    """Apply ``FaceDetector``'s arguments of these names to a config, and check it.

    Raises:
        ValueError, RuntimeError: as ``FaceDetector``.
    """
    cfg.MODEL.DEVICE = _device_name(device)
    check_device(cfg, "device", 'take "cpu" or "auto"', VALID_DEVICES)
    in_bfloat16 = dtype == "bfloat16"
    if in_bfloat16 and cfg.MODEL.META_ARCHITECTURE != "SRN":
        name = cfg.MODEL.META_ARCHITECTURE
        raise ValueError(f"dtype {dtype!r} is for MODEL.META_ARCHITECTURE SRN only, not {name!r}")
    cfg.SOLVER.CPU_BFLOAT16, cfg.TEST.BFLOAT16 = False, in_bfloat16
    cfg.TEST.SRN_TTA.ENABLED = multi_scale


def _device_name(device: str | torch.device) -> str:
    """MODEL.DEVICE of ``FaceDetector``'s argument.

    Raises:
        ValueError: it is no name of a device.
    """
    if not isinstance(device, (str, torch.device)):
        hint = f"; the GPU {device} is 'cuda:{device}'" if type(device) is int else ""
        raise ValueError(f"device is {device!r}; valid are {VALID_DEVICES}{hint}")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return str(device)
