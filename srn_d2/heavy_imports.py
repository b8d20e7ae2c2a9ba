"""Imports of modules that load torch, with the garbage collector paused."""

import gc
import importlib
import sys
from types import ModuleType


def import_heavy(name: str) -> ModuleType:
    """Import a module, the first time with the garbage collector paused.

    torch, torchvision and detectron2 define some hundred thousand objects, which live until the
    process ends. The collector would traverse them several times during the import and once at
    exit, together 40 % of the time of ``python -c "import srn_d2; srn_d2.FaceDetector()"``. After
    the import all existing objects are exempt from collection (``gc.freeze``): reference cycles
    that are garbage by then stay in memory.

    Args:
        name: absolute name of the module.
    """
    if name in sys.modules:
        return sys.modules[name]
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
