import os
import subprocess
import sys

SMALL = ("MODEL.FPN.NORM", "", "MODEL.RESNETS.NORM", "GN")


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
