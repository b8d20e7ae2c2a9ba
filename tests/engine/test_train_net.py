"""Real runs of train_net.py, in processes of their own, on a small data set on disk."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

TINY = [
    *("MODEL.FPN.OUT_CHANNELS", "8", "MODEL.SRN.C6_CHANNELS", "8", "MODEL.SRN.C7_CHANNELS", "8"),
    *("INPUT.FACE_CROP_SIZE", "64", "SOLVER.IMS_PER_BATCH", "4", "SOLVER.CPU_BFLOAT16", "False"),
    *("DATASETS.TRAIN", "('widerface_train',)", "DATASETS.TEST", "('widerface_val',)"),
    *("DATALOADER.NUM_WORKERS", "0", "SOLVER.WARMUP_ITERS", "2"),
]
"""Options over srn_toy.yaml: a run of some seconds on ``tiny_datasets``."""


@pytest.fixture(scope="module")
def start_train_net(repo_root, tiny_datasets):
    """Start train_net.py: ``start_train_net(output, "--resume", "SOLVER.MAX_ITER", "9")``."""

    def start(output: Path, *arguments: str, datasets: Path = tiny_datasets) -> subprocess.Popen:
        options = [a for a in arguments if a.startswith("--")]
        opts = [a for a in arguments if not a.startswith("--")]
        environment = {
            **os.environ,
            "DETECTRON2_DATASETS": str(datasets),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(
            [
                *(sys.executable, "train_net.py", "--config-file", "configs/srn_toy.yaml"),
                *(*options, *TINY, "OUTPUT_DIR", str(output), *opts),
            ],
            cwd=repo_root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


def finish(process: subprocess.Popen, timeout: float = 240) -> str:
    """Wait for success and return what the process printed."""
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, output[-4000:]
    return output


def read_metrics(folder: Path) -> list[dict]:
    """The lines of metrics.json."""
    text = (folder / "metrics.json").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def wait_for(path: Path, process: subprocess.Popen, timeout: float = 180) -> None:
    end = time.monotonic() + timeout
    while not path.exists():
        assert process.poll() is None, process.communicate()[0][-4000:]
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.02)


def load_weights(path: Path, key: str = "model") -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)[key]


def assert_same_weights(path: Path, other: Path, key: str = "model", **tolerance: float) -> None:
    weights, expected = load_weights(path, key), load_weights(other, key)
    assert weights.keys() == expected.keys()
    for name, value in weights.items():
        torch.testing.assert_close(
            value, expected[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )


# Iterations 20 to 39 are one line of metrics.json, whose losses are medians over 20 iterations.
LONG = (
    *("SOLVER.MAX_ITER", "40", "SOLVER.CHECKPOINT_PERIOD", "20", "TEST.EVAL_PERIOD", "20"),
    *("TEST.BEST_METRIC", "bbox/AP50", "SOLVER.EMA_DECAY", "0.9"),
)
LOSSES = ("total_loss", "loss_cls_s1", "loss_box_s1", "loss_cls_s2", "loss_box_s2")


@pytest.fixture(scope="module")
def whole_run(start_train_net, tmp_path_factory) -> Path:
    """The output folder of an uninterrupted run."""
    output = tmp_path_factory.mktemp("whole")
    finish(start_train_net(output, *LONG))
    return output


def test_a_killed_run_resumes_to_the_same_curve_and_weights(start_train_net, whole_run, tmp_path):
    process = start_train_net(tmp_path, *LONG)
    wait_for(tmp_path / "last_checkpoint", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "model_final.pth").exists()

    log = finish(start_train_net(tmp_path, "--resume", *LONG))
    assert "Starting training from iteration 20" in log
    for name in LOSSES:
        resumed = {line["iteration"]: line[name] for line in read_metrics(tmp_path) if name in line}
        whole = {line["iteration"]: line[name] for line in read_metrics(whole_run) if name in line}
        assert resumed[39] == pytest.approx(whole[39], rel=1e-5), name
    for key in ("model", "average"):
        assert_same_weights(tmp_path / "model_final.pth", whole_run / "model_final.pth", key)


def test_a_run_writes_scalars_results_and_its_best_weights(whole_run):
    lines = read_metrics(whole_run)
    last = next(line for line in reversed(lines) if "total_loss" in line)
    assert {"lr", "srn/positives_s1", "srn/stc_removed_share"} <= last.keys()
    best = torch.load(whole_run / "model_best.pth", weights_only=True)
    evaluated = [line["bbox/AP50"] for line in lines if "bbox/AP50" in line]
    assert len(evaluated) == 2
    assert best["best_metric"] == pytest.approx(max(evaluated))
    assert (whole_run / "last_checkpoint").read_text() == "model_final.pth"
    assert list(whole_run.glob("events.out.tfevents.*"))


def test_eval_only_repeats_the_final_evaluation(start_train_net, whole_run, tmp_path):
    weights = str(whole_run / "model_final.pth")
    log = finish(start_train_net(tmp_path, "--eval-only", "MODEL.WEIGHTS", weights))
    final = read_metrics(whole_run)[-1]
    row = ",".join(
        f"{final[f'bbox/{name}']:.4f}" for name in ("AP", "AP50", "AP60", "AP70", "AP80")
    )
    assert f"copypaste: {row}" in log


def test_eval_only_with_weights_that_do_not_fit_lists_the_keys(
    start_train_net, whole_run, tmp_path
):
    weights = str(whole_run / "model_final.pth")
    process = start_train_net(
        tmp_path, "--eval-only", "MODEL.WEIGHTS", weights, "MODEL.SRN.C7_CHANNELS", "12"
    )
    log, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert "backbone.c7.weight: (8, 8, 3, 3) in the file, (12, 8, 3, 3) in the model" in log
    assert "backbone.first_step_convs.c7.weight" in log


# One step from the same weights, without batch statistics, momentum, decay or clipping: the
# difference of the weights is the gradient.
ONE_STEP = (
    *("MODEL.RESNETS.NORM", "FrozenBN", "MODEL.FPN.NORM", "", "SOLVER.MAX_ITER", "1"),
    *("SOLVER.OPTIMIZER", "SGD", "SOLVER.BASE_LR", "0.1", "SOLVER.WEIGHT_DECAY", "0.0"),
    *("SOLVER.WARMUP_ITERS", "0", "SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR"),
    *("SOLVER.CLIP_GRADIENTS.ENABLED", "False", "DATASETS.TEST", "()"),
)


def test_two_gloo_workers_give_the_gradient_of_one(start_train_net, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start_train_net(one, *ONE_STEP))
    log = finish(start_train_net(two, "--num-gpus=2", *ONE_STEP))
    assert "World size: 2" in log
    assert_same_weights(two / "model_final.pth", one / "model_final.pth", atol=1e-5, rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_with_files_rate_and_losses(start_train_net, tmp_path):
    process = start_train_net(
        tmp_path,
        *("SOLVER.BASE_LR", "1e30", "SOLVER.WARMUP_ITERS", "0", "SOLVER.MAX_ITER", "2"),
        *("SOLVER.CLIP_GRADIENTS.ENABLED", "False"),
    )
    log, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    message = log[log.rindex("NonFiniteLossError") :]
    assert "loss_cls_s2" in message
    assert re.search(r"learning rate: \d\S*e\+(29|30)\n", message)
    assert message.count("0--Discs") == 4
    assert "Start inference" not in log  # though it was the last iteration
    state = torch.load(tmp_path / "nonfinite_rank0.pth", weights_only=True)
    assert "optimizer" in state["trainer"]["_trainer"]
    assert state["model"]


def test_a_missing_data_set_names_the_path_and_the_readme(start_train_net, tmp_path):
    process = start_train_net(tmp_path / "out", datasets=tmp_path / "nowhere")
    log, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert str(tmp_path / "nowhere" / "widerface") in log
    assert "datasets/README.md" in log
