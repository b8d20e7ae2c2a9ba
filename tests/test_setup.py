"""Packaging: requirements against pins, and what the Makefile does when things go wrong."""

import importlib.metadata
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import srn_d2

# A stand-in for Python: makes a virtual environment whose interpreter is itself, and logs pip.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  "--version") echo "Python 3.99.0" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip "*) echo "$*" >> "$PIP_LOG"; test ! -e "$PIP_FAILS" ;;
esac
"""


@pytest.fixture(scope="module")
def distribution(repo_root):
    """What setup.py declares."""
    from distutils.core import run_setup

    import setuptools  # noqa: F401 -- brings distutils where Python has none of its own

    return run_setup(str(repo_root / "setup.py"), stop_after="init")


@pytest.fixture(scope="module")
def pins(repo_root):
    """Canonical name -> version in constraints.txt."""
    lines = (repo_root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def test_the_version_is_the_package_s(distribution):
    assert distribution.metadata.version == srn_d2.__version__


def test_every_requirement_is_pinned_to_a_version_it_accepts(distribution, pins):
    extras = itertools.chain.from_iterable(distribution.extras_require.values())
    requirements = [*distribution.install_requires, *extras]
    assert len(requirements) > 10
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} has no pin"
        assert requirement.specifier.contains(pins[name]), f"{requirement} against {pins[name]}"


def test_everything_that_is_required_in_turn_is_pinned(distribution, pins):
    """Walks the installed packages; one that its requirer pins needs no line of ours."""
    todo = [*distribution.install_requires, *distribution.extras_require["test"]]
    seen, pinned_by_requirer, unpinned = set(), set(), set()
    while todo:
        requirement = Requirement(todo.pop())
        extras = tuple(sorted(requirement.extras))
        name = canonicalize_name(requirement.name)
        if any(clause.operator == "==" for clause in requirement.specifier):
            pinned_by_requirer.add(name)
        elif name not in pins:
            unpinned.add(name)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        todo += [
            text
            for text in importlib.metadata.requires(name) or []
            if _applies(Requirement(text), extras)
        ]
    assert len(seen) > len(distribution.install_requires)
    assert unpinned <= pinned_by_requirer


def _applies(requirement, extras):
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


@pytest.mark.parametrize(
    "name", ["Makefile", "setup.py", "pyproject.toml", "constraints.txt", ".ci/run"]
)
def test_no_registry_is_named(repo_root, name):
    text = (repo_root / name).read_text(encoding="utf-8")
    assert not re.search(r"://|index-url|find-links|trusted-host", text)


@pytest.fixture
def project(tmp_path, repo_root):
    """A folder with the Makefile and what it depends on, and a stand-in for Python."""
    for name in ("Makefile", "setup.py", "constraints.txt"):
        shutil.copy(repo_root / name, tmp_path)
    python = tmp_path / "fake_python"
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return tmp_path


def make(project, *arguments):
    """Run make in ``project``; returns its status, its output, and the pip calls it made."""
    log = project / "pip.log"
    log.write_text("")
    environment = os.environ | {"PIP_LOG": str(log), "PIP_FAILS": str(project / "pip_fails")}
    environment.pop("MAKEFLAGS", None)
    done = subprocess.run(
        ["make", *arguments], cwd=project, env=environment, capture_output=True, text=True
    )
    return done.returncode, done.stdout + done.stderr, log.read_text().splitlines()


def test_help_is_the_default_and_lists_every_target(project):
    status, output, pip_calls = make(project)
    assert status == 0
    assert not pip_calls
    phony = re.search(r"^\.PHONY: (.*)$", (project / "Makefile").read_text(), re.MULTILINE)
    for target in phony.group(1).split():
        assert f"make {target} " in output


def test_a_second_install_does_nothing_until_the_pins_change(project):
    python = f"PYTHON={project / 'fake_python'}"
    status, output, pip_calls = make(project, "install", python)
    assert status == 0, output
    assert any("--editable .[test]" in call for call in pip_calls)
    assert any("--no-deps" in call and "detectron2" in call for call in pip_calls)
    assert all("--constraint constraints.txt" in call for call in pip_calls)
    assert make(project, "install", python)[2] == []
    marker = project / ".venv" / "kept"
    marker.touch()
    stamp = (project / ".venv" / ".installed").stat()
    os.utime(project / "constraints.txt", (stamp.st_atime + 5, stamp.st_mtime + 5))
    assert make(project, "install", python)[2]
    assert marker.exists(), "a finished environment is updated, not built anew"


def test_an_interrupted_install_starts_over(project):
    python = f"PYTHON={project / 'fake_python'}"
    (project / "pip_fails").touch()
    assert make(project, "install", python)[0] != 0
    half_installed = project / ".venv" / "half_installed"
    half_installed.touch()
    (project / "pip_fails").unlink()
    status, output, pip_calls = make(project, "install", python)
    assert status == 0, output
    assert "did not finish" in output
    assert pip_calls
    assert not half_installed.exists()
    assert make(project, "install", python)[2] == []


def test_an_old_or_absent_python_is_refused_before_anything_is_made(project):
    old = project / "old_python"
    old.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.exit(1)'\n")
    old.chmod(0o755)
    for python in (str(old), str(project / "absent"), ""):
        status, output, _ = make(project, "install", f"PYTHON={python}")
        assert status != 0
        assert "3.11" in output
        assert not (project / ".venv").exists()


def test_the_oldest_python_is_the_same_everywhere(repo_root, distribution):
    from srn_d2.doctor import MIN_PYTHON

    oldest = ".".join(map(str, MIN_PYTHON))
    assert distribution.python_requires == f">={oldest}"
    assert f"MIN_PYTHON := {oldest}\n" in Path(repo_root / "Makefile").read_text()
