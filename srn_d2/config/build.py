"""Building of a config: defaults, a file, and KEY VALUE pairs."""

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from detectron2.config import CfgNode, get_cfg
from detectron2.utils.file_io import PathManager

from srn_d2.bfloat16 import resolve_cpu_bfloat16
from srn_d2.config_files import find_config_file
from srn_d2.renamed_configs import rename_hint

from .keys import add_srn_config
from .node import ConfigFileError, SRNCfgNode
from .values import ConfigValueError

_FLAG = re.compile(r"--\w.*|-[A-Za-z]\w*")
COMMAND_LINE = "command line"


def build_cfg(config_file: str = "", opts: Sequence[Any] | None = None) -> CfgNode:
    """Detectron2's defaults, the project's keys, a config file and ``KEY VALUE`` pairs over them.

    Args:
        config_file: a path, or the name of a config that comes with the project, such as
            "srn_R50.yaml"; "": none.
        opts: keys and values in turn.

    Raises:
        KeyError, FileNotFoundError: for an unknown key, or no such file.
        ValueError: for a file that is no YAML or has a key twice, a key without a value, a value
            of a wrong type, or a flag among the pairs.
    """
    cfg = SRNCfgNode(get_cfg())
    add_srn_config(cfg)
    valid = list(_flatten_keys(cfg))
    config_file = config_path(config_file)
    if config_file:
        _merge_file(cfg, config_file, valid)
    opts = list(opts or [])
    check_pairs(opts, valid)
    try:
        cfg.merge_from_list(opts)
    except KeyError as error:
        raise _unknown_key(error, valid, COMMAND_LINE) from error
    except ConfigValueError as error:
        raise ConfigValueError(f"{COMMAND_LINE}: {error}") from error
    if cfg.SOLVER.CPU_BFLOAT16 is None:
        cfg.SOLVER.CPU_BFLOAT16 = False
    resolve_cpu_bfloat16(cfg.SOLVER.CPU_BFLOAT16)  # raises for a wrong value
    return cfg


def config_path(config_file: str) -> str:
    """Path of a config: ``config_file`` if it is a file or "", else the model zoo's of this name.

    Raises:
        FileNotFoundError: it is neither; the message names the configs that there are.
    """
    if not config_file or PathManager.isfile(config_file):
        return config_file
    return find_config_file(config_file)


def check_pairs(opts: Sequence[Any], valid: Sequence[str]) -> None:
    """Raise a ValueError unless ``opts`` are keys and values in turn.

    Args:
        opts: the end of a command line.
        valid: all keys.
    """
    for token in opts:
        if isinstance(token, str) and _FLAG.fullmatch(token):
            raise ValueError(
                f"{COMMAND_LINE}: the flag {token} is among the KEY VALUE pairs: flags go before "
                f"the first of them, {opts[0] if opts[0] != token else 'KEY VALUE'}"
            )
    for key in opts[::2]:
        name, separator, value = str(key).partition("=")
        if separator and name in valid:
            raise ValueError(f"{COMMAND_LINE}: write {name} {value} instead of {key}")
    if len(opts) % 2:
        unknown = [key for key in opts[::2] if key not in valid]
        wrong = f"{unknown[0]} is no key" if unknown else f"{opts[-1]} has no value"
        raise ValueError(
            f"{COMMAND_LINE}: {wrong}: {' '.join(map(str, opts))} must be pairs of a key and its "
            "value (a value with blanks within quotes)"
        )


def _merge_file(cfg: CfgNode, config_file: str, valid: Sequence[str]) -> None:
    """Merge a file and its _BASE_ files; errors as of ``build_cfg``."""
    try:
        cfg.merge_from_file(config_file)
    except KeyError as error:
        raise _unknown_key(error, valid, config_file) from error
    except ConfigValueError as error:
        raise ConfigValueError(f"{config_file}: {error}") from error
    except FileNotFoundError as error:
        base = str(error.filename)
        text = f"{config_file}: there is no config file {base} (_BASE_){rename_hint(base)}"
        raise FileNotFoundError(text) from error
    except RecursionError as error:
        raise ConfigFileError(f"{config_file}: its _BASE_ leads back to itself") from error
    except AssertionError as error:  # detectron2's and fvcore's checks
        raise ConfigFileError(f"{config_file}: {error}") from error


def _flatten_keys(node: CfgNode, prefix: str = "") -> Iterator[str]:
    for name, value in node.items():
        if isinstance(value, CfgNode):
            yield from _flatten_keys(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _unknown_key(error: Exception, valid: Sequence[str], where: str) -> KeyError:
    message = str(error.args[0]) if error.args else str(error)
    named = message.rsplit(" ", 1)[-1].strip("'\"")
    parent, _, name = named.rpartition(".")
    siblings = [key for key in valid if key.rpartition(".")[0] == parent]
    close = [key for key in valid if key.rpartition(".")[2] == name.upper()][:3]
    close = close or difflib.get_close_matches(named.upper(), valid, n=3, cutoff=0.7)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    if siblings:
        hint += f" Valid keys there: {', '.join(siblings)}"
    return KeyError(f"{where}: there is no key {named}{hint}")
