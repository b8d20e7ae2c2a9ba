"""The config node of this project: detectron2's, with other checks of files and of types."""

from typing import Any

import yaml
from detectron2.config import CfgNode

from .values import ConfigValueError, convert, decode

ANY_TYPE = ("SOLVER.CPU_BFLOAT16",)
"""Keys whose values may be of several types: "auto", True, False or None."""


class ConfigFileError(ValueError):
    """A config file that is no YAML mapping, or that has a key twice; the message names it."""


class SRNCfgNode(CfgNode):
    """detectron2's config, whose values are converted where their meaning is clear.

    ``SOLVER.BASE_LR 1``, ``SOLVER.MAX_ITER 1e4`` and ``OUTPUT_DIR 2026`` are right, and
    SOLVER.CPU_BFLOAT16 may be "auto", True, False or None. Other values of a wrong type are a
    ConfigValueError, and so is None for a key that has a value.
    """

    @classmethod
    def load_yaml_with_base(cls, filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
        """As detectron2's, which calls it for each file of _BASE_.

        Raises:
            ConfigFileError: the file is no mapping, or has a key twice.
        """
        with cls._open_cfg(filename) as file:
            try:
                check_mapping(yaml.compose(file), filename)
            except yaml.YAMLError as error:
                reason = " ".join(str(error).split())
                raise ConfigFileError(f"{filename} is no valid YAML: {reason}") from error
            except UnicodeDecodeError as error:
                raise ConfigFileError(f"{filename} is no config: it is not text") from error
        return super().load_yaml_with_base(filename, allow_unsafe)

    def merge_from_other_cfg(self, cfg_other: CfgNode) -> None:
        unknown = SRNCfgNode(cfg_other)  # a copy
        _merge_known(unknown, self, "")
        super().merge_from_other_cfg(unknown)  # what is left: an error, or a key that is gone

    def merge_from_list(self, cfg_list: list) -> None:
        for key, value in zip(cfg_list[::2], cfg_list[1::2], strict=True):
            *sections, name = str(key).split(".")
            node: Any = self
            for section in sections:
                node = node.get(section) if isinstance(node, CfgNode) else None
            if isinstance(node, CfgNode) and name in node:
                _set_value(node, name, value, key)
            elif self.key_is_deprecated(key) or self.key_is_renamed(key):
                super().merge_from_list([key, value])
            else:
                raise KeyError(f"Non-existent key: {key}")


def check_mapping(node: yaml.Node | None, filename: str) -> None:
    """Raise a ConfigFileError unless a YAML document is a mapping, of which no key occurs twice."""
    if not isinstance(node, yaml.MappingNode):
        raise ConfigFileError(
            f"{filename} has no keys: a config holds sections such as SOLVER, each with its keys"
        )
    _check_keys(node, filename, "")


def _check_keys(node: yaml.MappingNode, filename: str, prefix: str) -> None:
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key, line = f"{prefix}{key_node.value}", key_node.start_mark.line + 1
        if key in lines:
            raise ConfigFileError(
                f"{filename}: {key} is there twice, in lines {lines[key]} and {line}: leave one"
            )
        lines[key] = line
        if isinstance(value_node, yaml.MappingNode):
            _check_keys(value_node, filename, f"{key}.")


def _merge_known(source: CfgNode, target: CfgNode, prefix: str) -> None:
    """Move the values whose keys ``target`` has out of ``source``."""
    for name in [name for name in source if name in target]:
        key = f"{prefix}{name}"
        if isinstance(target[name], CfgNode) and isinstance(source[name], CfgNode):
            _merge_known(source[name], target[name], f"{key}.")
        else:
            _set_value(target, name, source.pop(name), key)


def _set_value(node: CfgNode, name: str, given: Any, key: str) -> None:
    if isinstance(node[name], CfgNode):
        first = next(iter(node[name]), "KEY")
        raise ConfigValueError(f"{key} is a section, not a key: set its keys, as {key}.{first}")
    # As an item: a frozen config is protected against assignments only.
    node[name] = decode(given) if key in ANY_TYPE else convert(key, given, node[name])
