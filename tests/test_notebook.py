"""docs/notebooks/quickstart.ipynb runs from beginning to end, and is stored without outputs."""

import os

import pytest

NOTEBOOK = "docs/notebooks/quickstart.ipynb"
SECONDS = 300  # of a cell, on a busy machine


@pytest.fixture
def notebook(repo_root):
    nbformat = pytest.importorskip("nbformat", reason="make docs installs it")
    return nbformat.read(repo_root / NOTEBOOK, as_version=4)


def test_is_stored_without_outputs(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.slow
def test_runs(notebook, repo_root, tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient", reason="make docs installs it")
    monkeypatch.setenv("PYTHONPATH", str(repo_root), prepend=os.pathsep)
    nbclient.NotebookClient(
        notebook, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [output for output in outputs if "image/png" in output.get("data", ())]
    text = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert len(pictures) == 2
    assert "AP50: " in text
    assert (tmp_path / "quickstart" / "output" / "model_final.pth").exists()
