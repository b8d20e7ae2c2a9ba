import os
import subprocess
import sys

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from srn_d2.data import register_builtin_datasets

ARGUMENTS = ("--config-file", "configs/srn_R18.yaml", "--num-images", "2", "--size", "128")
OPTS = (
    *("MODEL.FPN.OUT_CHANNELS", "32", "MODEL.SRN.C6_CHANNELS", "64", "MODEL.SRN.C7_CHANNELS", "32"),
    *("MODEL.FPN.NORM", "", "MODEL.RESNETS.NORM", "GN", "DATASETS.TRAIN", "('widerface_train',)"),
    # No anchor overlaps these faces by 0.7: with that threshold STC would learn to drop them all.
    *("MODEL.SRN.FIRST_STEP_IOU_THRESHOLDS", "[0.3, 0.5]"),
)


@pytest.fixture(scope="module")
def overfit(load_tool):
    return load_tool("overfit")


@pytest.fixture
def run_here(overfit, repo_root, tiny_datasets, monkeypatch):
    """Call the tool's main: ``run_here("--max-steps", "2")`` gives its status."""
    monkeypatch.chdir(repo_root)
    register_builtin_datasets(tiny_datasets)
    yield lambda *arguments: overfit.main([*ARGUMENTS, *arguments, *OPTS])
    register_builtin_datasets()
    DatasetCatalog.pop(overfit.DATASET, None)
    MetadataCatalog.pop(overfit.DATASET, None)


@pytest.mark.slow
def test_images_are_learnt(run_here, capsys):
    # AP50 50: one of the two faces. The other lies between the anchors, none overlaps it by half.
    assert run_here("--max-steps", "200", "--min-ap50", "40") == 0
    assert "AP50" in capsys.readouterr().out


def test_too_few_steps_fail(repo_root, tiny_datasets):
    few = ("--max-steps", "2", "--eval-period", "1")
    done = subprocess.run(
        [sys.executable, "tools/overfit.py", *ARGUMENTS, *few, *OPTS],
        cwd=repo_root,
        env={**os.environ, "DETECTRON2_DATASETS": str(tiny_datasets), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1
    assert "step 2: AP50" in done.stderr + done.stdout
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config-file", "absent.yaml"), "absent.yaml"),
        (("--size", "8"), "large enough"),
    ],
)
def test_what_cannot_start_says_why(run_here, capsys, arguments, message):
    assert run_here(*arguments) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: ")
    assert message in error


def test_learning_rate_rises_and_falls(overfit):
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)

    def rate(step: int, decay_step: int | None) -> float:
        overfit.set_learning_rate(optimizer, 0.5, step, decay_step)
        return optimizer.param_groups[0]["lr"]

    assert rate(5, None) == pytest.approx(0.05)
    assert rate(50, None) == rate(79, 80) == rate(10_000, None) == 0.5
    assert rate(80, 80) == rate(500, 80) == pytest.approx(0.05)
