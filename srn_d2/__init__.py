"""Selective Refinement Network (AAAI 2019) for face detection, as detectron2 components.

Importing this package registers the network with detectron2's registries and the data sets with
its DatasetCatalog.
"""

import sys

__version__ = "0.1.0"

# `python -m srn_d2.doctor` examines an installation that may be broken, and Python imports this
# package first: then it must not import what is to be examined.
if "srn_d2.doctor" not in sys.orig_argv:
    from . import data, modeling
    from .config import add_srn_config

    __all__ = ["__version__", "add_srn_config", "data", "modeling"]
