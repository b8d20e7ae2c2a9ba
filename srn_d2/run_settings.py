"""Settings of a run in a file, so that a run that was stopped goes on only with the same ones."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .atomic_file import atomic_path


class OtherSettingsError(ValueError):
    """The run that is to go on was started with other settings; the message names them."""


def write_settings(path: str | os.PathLike, settings: Mapping[str, Any]) -> None:
    """Write the settings of a new run, atomically.

    Args:
        path: the file; its folder is created.
        settings: JSON values.
    """
    lines = [f"  {json.dumps(key)}: {json.dumps(settings[key])}" for key in sorted(settings)]
    with atomic_path(path) as draft:
        draft.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def read_settings(path: str | os.PathLike) -> dict[str, Any]:
    """The settings in a file of ``write_settings``.

    Raises:
        ValueError: it is no settings file.
    """
    try:
        return dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no settings file: {error}") from error


def require_same_settings(
    path: str | os.PathLike, settings: Mapping[str, Any], run: str, remedy: str
) -> None:
    """Compare the settings of a run that is to go on with those that it was started with.

    Args:
        path: file of ``write_settings``.
        settings: those of this command; tuples are equal to lists.
        run: name of the run, which begins the message.
        remedy: what to do, for the message.

    Raises:
        OtherSettingsError: they differ; the message has each key with both values.
        ValueError: the file is no settings file.
    """
    new = json.loads(json.dumps(dict(settings)))  # as in the file: lists in place of tuples
    old = read_settings(path)
    differences = describe_differences(old, new, "there", "now")
    if differences:
        raise OtherSettingsError(
            f"{run} was created with other settings ({path}); {remedy}:\n" + "\n".join(differences)
        )


def describe_differences(
    first: Mapping[str, Any], second: Mapping[str, Any], first_name: str, second_name: str
) -> list[str]:
    """A line for each key whose values differ: both, and where each is."""
    return [
        f"  {key}: {first.get(key, 'not set')} {first_name}, "
        f"{second.get(key, 'not set')} {second_name}"
        for key in sorted({*first, *second})
        if key not in first or key not in second or first[key] != second[key]
    ]
