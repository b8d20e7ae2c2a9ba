"""Lazy imports, and imports of modules that load torch with the garbage collector paused."""

import gc
import importlib
import sys
from collections.abc import Callable, Mapping
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


def lazy_getattr(
    package: str,
    modules: Mapping[str, str],
    import_module: Callable[[str], ModuleType] = importlib.import_module,
) -> Callable[[str], object]:
    """Module-level ``__getattr__`` (PEP 562) that imports a package's exports when first used.

    Args:
        package: name of the package.
        modules: export -> its module, relative to the package.
        import_module: imports a module by its absolute name.
    """

    def getattr_of_module(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return getattr_of_module
