"""Imports with the garbage collector paused."""

import gc
import subprocess
import sys

import pytest

from srn_d2.heavy_imports import import_heavy


@pytest.fixture
def module(tmp_path, monkeypatch):
    """``module(source)``: write a new module; its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


@pytest.mark.parametrize("was_enabled", [True, False])
def test_the_collector_pauses_and_is_as_before(module, was_enabled):
    name = module(f"paused_{was_enabled}", "import gc\nENABLED = gc.isenabled()\n")
    gc.enable() if was_enabled else gc.disable()
    try:
        assert import_heavy(name).ENABLED is False
        assert gc.isenabled() is was_enabled
    finally:
        gc.enable()


def test_an_import_that_fails_leaves_the_collector_on(module):
    with pytest.raises(ZeroDivisionError):
        import_heavy(module("failing", "1 / 0\n"))
    assert gc.isenabled()


def test_only_the_first_import_freezes():
    code = (
        "import gc, srn_d2\n"
        "srn_d2.Faces\n"
        "frozen = gc.get_freeze_count()\n"
        "more = [[] for _ in range(1000)]\n"
        "srn_d2.Faces\n"
        "print(frozen > 0, gc.get_freeze_count() == frozen)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
