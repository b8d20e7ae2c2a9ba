"""Virtual environments of the detectors, made when they are first needed."""

import json
import logging
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from srn_d2.atomic_file import atomic_path

from .table import Environment

STAMP = ".complete"
"""Stamp file with the installed packages; written last."""
SHARED = "shared_packages.pth"

logger = logging.getLogger(__name__)


class InstallationError(RuntimeError):
    """An environment could not be made; the message says why."""


def find_environment(environment: Environment, folder: Path) -> Path | None:
    """The environment's Python, if it exists, complete and with the same packages; else None.

    Args:
        environment: packages of the environment.
        folder: folder of all environments.
    """
    root = _root(environment, folder)
    python, stamp = _python(root), root / STAMP
    is_there = python.exists() and stamp.is_file()
    is_same = is_there and stamp.read_text(encoding="utf-8") == _content(environment)
    return python if is_same else None


def ensure_environment(environment: Environment, folder: Path) -> Path:
    """Like :func:`find_environment`, but create a missing environment.

    Raises:
        InstallationError: with pip's last message.
    """
    python = find_environment(environment, folder)
    if python is not None:
        return python
    root = _root(environment, folder)
    logger.info("Installing %s into %s ...", environment.requirements[0], root)
    try:
        shutil.rmtree(root, ignore_errors=True)
        venv.create(root, symlinks=os.name != "nt")  # without pip: the running one's installs
        _install(_python(root), environment.requirements)
        if environment.share_packages:
            variables = {"base": str(root), "platbase": str(root)}
            packages = sysconfig.get_path("purelib", vars=variables)
            Path(packages, SHARED).write_text(_own_packages() + "\n", encoding="utf-8")
    except OSError as error:
        raise InstallationError(f"{root} cannot be made: {error}") from error
    with atomic_path(root / STAMP) as draft:
        draft.write_text(_content(environment), encoding="utf-8")
    return _python(root)


def _install(python: Path, requirements: tuple[str, ...]) -> None:
    """Install wheels only, so that no detector needs a compiler."""
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    options = ["--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*pip, "install", *options, *requirements], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        errors = [line for line in lines if line.startswith("ERROR")] or lines
        raise InstallationError(f"pip failed ({done.returncode}): {errors[-1]}")


def _root(environment: Environment, folder: Path) -> Path:
    return Path(os.path.abspath(folder / environment.name))


def _python(root: Path) -> Path:
    return root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _content(environment: Environment) -> str:
    """Content of the stamp file."""
    shared = _own_packages() if environment.share_packages else None
    requirements = list(environment.requirements)
    content = {"python": sys.version, "requirements": requirements, "shared": shared}
    return json.dumps(content, indent=1)


def _own_packages() -> str:
    return sysconfig.get_path("purelib")
