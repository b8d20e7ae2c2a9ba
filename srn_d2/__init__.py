"""Selective Refinement Network (AAAI 2019) for face detection, as detectron2 components.

Exports are imported lazily: the package itself needs neither torch nor detectron2, so that the
command line starts fast and ``srn_d2.export.onnx_predictor`` runs without them.
``add_srn_config`` registers the network with detectron2's registries and the data
sets with its DatasetCatalog; so does importing ``srn_d2.modeling`` and ``srn_d2.data.datasets``.
"""

import importlib
import warnings
from typing import TYPE_CHECKING

from srn_d2.heavy_imports import import_heavy

if TYPE_CHECKING:
    from srn_d2 import data as data
    from srn_d2 import model_zoo as model_zoo
    from srn_d2 import modeling as modeling
    from srn_d2.config import add_srn_config as add_srn_config
    from srn_d2.data.image_io import InvalidImageError as InvalidImageError
    from srn_d2.inference.detector import FaceDetector as FaceDetector
    from srn_d2.inference.faces import Face as Face
    from srn_d2.inference.faces import Faces as Faces

__version__ = "0.1.0"

# Hide deprecation warnings of detectron2 and fvcore under newer versions of torch.
for _message, _category in (
    (".torch.jit.script. is deprecated", FutureWarning),
    ("torch.meshgrid: in an upcoming release", UserWarning),
):
    warnings.filterwarnings("ignore", _message, _category)

_LAZY = {
    "Face": "srn_d2.inference.faces",
    "FaceDetector": "srn_d2.inference.detector",
    "Faces": "srn_d2.inference.faces",
    "InvalidImageError": "srn_d2.data.image_io",
    "add_srn_config": "srn_d2.config",
}
_SUBPACKAGES = ("data", "model_zoo", "modeling")

__all__ = [*_LAZY, *_SUBPACKAGES, "__version__"]


def __getattr__(name: str) -> object:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_heavy(_LAZY[name]), name)
