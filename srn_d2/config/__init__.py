"""The configuration keys that this project adds to detectron2's, and configs of them.

Importing it registers the components, the data sets and the kinds of weights that the keys name.
"""

import srn_d2.checkpoint
import srn_d2.data.datasets
import srn_d2.modeling  # noqa: F401 -- as the data sets: registers them

from .build import build_cfg, config_path
from .device import check_device
from .keys import add_srn_config
from .node import SRNCfgNode
from .values import ConfigValueError

__all__ = [
    "ConfigValueError",
    "SRNCfgNode",
    "add_srn_config",
    "build_cfg",
    "check_device",
    "config_path",
]
