"""Selective Refinement Network (AAAI 2019) for face detection, as detectron2 components.

Importing this package registers the network with detectron2's registries and the data sets with
its DatasetCatalog. Where torch or detectron2 is missing only ``srn_d2.doctor`` works.
"""

from importlib.util import find_spec

__version__ = "0.1.0"

MISSING_REQUIREMENTS = [name for name in ("torch", "detectron2") if find_spec(name) is None]

if not MISSING_REQUIREMENTS:
    from . import modeling
    from .config import add_srn_config

    __all__ = ["__version__", "add_srn_config", "modeling"]
else:
    __all__ = ["__version__"]

    def __getattr__(name: str):
        missing = " and ".join(MISSING_REQUIREMENTS)
        raise AttributeError(
            f"srn_d2.{name} needs {missing}, not installed here: run `python -m srn_d2.doctor`"
        )
