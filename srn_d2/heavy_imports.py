"""Imports of what loads torch, without the garbage collector's part of the time."""

import gc
import importlib
import sys
from types import ModuleType


def import_heavy(name: str) -> ModuleType:
    """Import a module, the first time with the garbage collector paused.

    torch, torchvision and detectron2 define some hundred thousand objects, which stay until the
    process ends. The collector would look at them several times while they are made and once more
    when the process ends, together 40 % of the time of ``python -c "import srn_d2;
    srn_d2.FaceDetector()"``. After the import all objects that are there are exempt from
    collection (``gc.freeze``): reference cycles that are garbage by then stay in memory.

    Args:
        name: of the module, absolute.
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
