"""The config files that come with the project. Needs no package.

In a clone they are the folder ``configs`` beside the package; in an installed wheel the same folder
is inside it.
"""

import difflib
import os
from pathlib import Path

from srn_d2.renamed_configs import rename_hint

_PACKAGE = Path(__file__).resolve().parent


def configs_folder() -> Path:
    """The folder of the configs.

    Raises:
        FileNotFoundError: the installation has none.
    """
    for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs"):
        if (folder / "Base-SRN.yaml").is_file():
            return folder
    raise FileNotFoundError(f"srn_d2 in {_PACKAGE} has no configs: install it again")


def config_names() -> list[str]:
    """Names of the configs, sorted: paths below their folder, such as "ablation/stc.yaml"."""
    folder = configs_folder()
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))


def get_config_file(name: str) -> str:
    """Path of a config that comes with the project.

    Args:
        name: as ``config_names`` lists it: "srn_R50.yaml", "ablation/stc.yaml", ...

    Raises:
        FileNotFoundError: there is no such config; the message names those that there are.
    """
    names = config_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
        hint = f" (did you mean {close[0]}?)" if close else ""
        hint = rename_hint(name) or hint
        raise FileNotFoundError(
            f"the model zoo has no config {name!r}{hint}; it has: {', '.join(names)}"
        )
    return str(configs_folder() / name)


def find_config_file(path_or_name: str | os.PathLike) -> str:
    """Path of a config: ``path_or_name`` where it is a file, else the model zoo's of this name.

    Raises:
        FileNotFoundError: it is neither; the message names the configs that there are.
    """
    path = os.fspath(path_or_name)
    if os.path.isfile(path):
        return path
    if hint := rename_hint(path):
        raise FileNotFoundError(f"there is no config file {path}{hint}")
    try:
        return get_config_file(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no config file {path}; {error}") from None
