"""Former names of the config files in ``configs``, for error messages during one release."""

from pathlib import PurePath

RENAMED_CONFIGS = {
    "lite/further.yaml": "finetune_lite.yaml",
    "lite/resnet18.yaml": "srn_R18_timm.yaml",
    "lite/retinanet.yaml": "retinanet_efflite0.yaml",
    "lite/srn.yaml": "srn_efflite0_full.yaml",
    "srn_R18_lite.yaml": "srn_R18.yaml",
    "srn_lite.yaml": "srn_efflite0.yaml",
}
"""Former name -> current name, both below the folder of the configs."""


def rename_hint(config_file: str) -> str:
    """Suffix of an error message about a missing config file: its current path, or "".

    Args:
        config_file: a path that ends in a former name, or any other.
    """
    path = PurePath(config_file)
    for former, present in RENAMED_CONFIGS.items():
        length = len(PurePath(former).parts)
        if path.parts[-length:] == PurePath(former).parts:
            return f": it is now {PurePath(*path.parts[:-length], present)}"
    return ""
