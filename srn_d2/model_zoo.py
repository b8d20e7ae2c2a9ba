"""Configs by name, as detectron2's model zoo has them:

from srn_d2 import model_zoo

path = model_zoo.get_config_file("srn_R50.yaml")
cfg = model_zoo.get_cfg("srn_efflite0.yaml", ["SOLVER.MAX_ITER", "100"])

It works from a clone and from an installed wheel.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .config_files import config_names, get_config_file

if TYPE_CHECKING:
    from detectron2.config import CfgNode

TRAINED = {"srn_efflite0_fast.yaml": "lite", "srn_efflite0.yaml": "lite-v1"}
"""Config -> the model that comes with the package and was trained with it."""

__all__ = ["TRAINED", "config_names", "get_cfg", "get_config", "get_config_file"]


def get_cfg(name: str, opts: Sequence[str] = ()) -> "CfgNode":
    """A config that comes with the project, over detectron2's defaults and the project's keys.

    Args:
        name: as ``config_names`` lists it.
        opts: keys and values in turn that replace the file's.

    Returns:
        A config that is not frozen.

    Raises:
        FileNotFoundError: there is no such config; the message names those that there are.
        KeyError, ValueError: of ``opts``, as ``srn_d2.config.build_cfg`` raises them.
    """
    from .config import build_cfg

    return build_cfg(get_config_file(name), list(opts))


def get_config(name: str, trained: bool = False) -> "CfgNode":
    """A config as detectron2's ``model_zoo.get_config`` gives it.

    Args:
        name: as ``config_names`` lists it.
        trained: True: MODEL.WEIGHTS are the trained weights that come with the package, and the
            config is the one stored with them; False: the initial weights of a training.

    Raises:
        FileNotFoundError: there is no such config.
        ValueError: ``trained``, and no weights come with the package for it.
    """
    if not trained:
        return get_cfg(name)
    from .checkpoint.shipped_models import PREFIX, find_shipped_model
    from .config import build_cfg

    get_config_file(name)  # raises for an unknown name
    if name not in TRAINED:
        raise ValueError(f"no trained weights of {name} come with srn_d2; of {list(TRAINED)} do")
    model = find_shipped_model(TRAINED[name])
    cfg = build_cfg(str(model.config_file))
    cfg.MODEL.WEIGHTS = f"{PREFIX}{model.name}"
    return cfg
