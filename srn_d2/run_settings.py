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
    try:
        old = dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is no settings file: {error}") from error
    differences = [
        f"  {key}: {old.get(key, 'not set')} there, {new.get(key, 'not set')} now"
        for key in sorted({*old, *new})
        if key not in old or key not in new or old[key] != new[key]
    ]
    if differences:
        raise OtherSettingsError(
            f"{run} was created with other settings ({path}); {remedy}:\n" + "\n".join(differences)
        )
