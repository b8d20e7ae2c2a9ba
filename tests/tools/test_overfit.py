import os
import subprocess
import sys

import pytest
import torch

SMALL = (
    *("MODEL.FPN.NORM", "", "MODEL.RESNETS.NORM", "GN"),
    # No anchor overlaps these faces by 0.7: with that threshold STC would learn to drop them all.
    *("MODEL.SRN.FIRST_STEP_IOU_THRESHOLDS", "[0.3, 0.5]"),
)


def run(repo_root, datasets, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "tools/overfit.py", "--config-file", "configs/srn_toy.yaml"]
    data = ("DATASETS.TRAIN", "('widerface_train',)")
    return subprocess.run(
        [*command, "--num-images", "2", "--size", "128", *arguments, *SMALL, *data],
        cwd=repo_root,
        env={**os.environ, "DETECTRON2_DATASETS": str(datasets), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_images_are_learnt(repo_root, tiny_datasets):
    # AP50 50: one of the two faces. The other lies between the anchors, none overlaps it by half.
    done = run(repo_root, tiny_datasets, "--max-steps", "200", "--target", "40")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "AP50" in done.stderr + done.stdout


def test_too_few_steps_fail(repo_root, tiny_datasets):
    done = run(repo_root, tiny_datasets, "--max-steps", "2", "--eval-period", "1")
    assert done.returncode == 1
    assert "step 2: AP50" in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--config-file", "absent.yaml"), "absent.yaml"),
        (("--size", "8"), "large enough"),
    ],
)
def test_what_cannot_start_says_why(repo_root, tiny_datasets, arguments, message):
    done = run(repo_root, tiny_datasets, *arguments)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_learning_rate_rises_and_falls(load_tool):
    overfit = load_tool("overfit")
    optimizer = torch.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=1.0)

    def rate(step: int, decay_step: int | None) -> float:
        overfit.set_learning_rate(optimizer, 0.5, step, decay_step)
        return optimizer.param_groups[0]["lr"]

    assert rate(5, None) == pytest.approx(0.05)
    assert rate(50, None) == rate(79, 80) == rate(10_000, None) == 0.5
    assert rate(80, 80) == rate(500, 80) == pytest.approx(0.05)
