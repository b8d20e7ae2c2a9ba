"""Real runs of train_net.py on a small data set on disk.

What is killed or has two workers runs in processes of its own; the rest calls main here.
"""

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
from detectron2.engine import hooks
from detectron2.utils import events

from helpers.small_network import thin_options
from srn_d2.engine.trainer import NonFiniteLossError

TINY = [
    *map(str, thin_options(8)),
    *("INPUT.FACE_CROP_SIZE", "64", "SOLVER.IMS_PER_BATCH", "4", "SOLVER.CPU_BFLOAT16", "False"),
    *("DATASETS.TRAIN", "('widerface_train',)", "DATASETS.TEST", "('widerface_val',)"),
    *("DATALOADER.NUM_WORKERS", "0", "SOLVER.WARMUP_ITERS", "2"),
    *("TEST.EVAL_PERIOD", "0", "TEST.BEST_METRIC", ""),
]
"""Options over srn_R18.yaml: a run of some seconds on ``tiny_datasets``."""


def command_line(output: Path, *arguments: str) -> list[str]:
    """Arguments of train_net.py: ``command_line(output, "--resume", "SOLVER.MAX_ITER", "9")``."""
    options = [a for a in arguments if a.startswith("--")]
    opts = [a for a in arguments if not a.startswith("--")]
    config = ("--config-file", "configs/srn_R18.yaml")
    return [*config, *options, *TINY, "OUTPUT_DIR", str(output), *opts]


@pytest.fixture(scope="module")
def start_train_net(repo_root, tiny_datasets):
    """Start train_net.py with the arguments of :func:`command_line`."""

    def start(output: Path, *arguments: str) -> subprocess.Popen:
        # Not a pipe: nobody reads one before the end, and a process waits where it is full.
        printed = output.with_name(f"{output.name}_printed.txt")
        with open(printed, "w", encoding="utf-8") as stream:
            process = subprocess.Popen(
                [sys.executable, "train_net.py", *command_line(output, *arguments)],
                cwd=repo_root,
                env={
                    **os.environ,
                    "DETECTRON2_DATASETS": str(tiny_datasets),
                    "OMP_NUM_THREADS": "1",
                    "PYTHONUNBUFFERED": "1",
                },
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        process.printed = printed
        return process

    return start


@pytest.fixture
def train_here(call_train_net, tiny_datasets):
    """Call train_net.py's main with the arguments of :func:`command_line`."""

    def call(output: Path, *arguments: str, datasets: Path = tiny_datasets) -> dict | None:
        return call_train_net(datasets, *command_line(output, *arguments))

    return call


def finish(process: subprocess.Popen, timeout: float = 240) -> str:
    """Wait for success and return what the process printed."""
    process.wait(timeout=timeout)
    output = process.printed.read_text(encoding="utf-8")
    assert process.returncode == 0, output[-4000:]
    return output


def read_metrics(folder: Path) -> list[dict]:
    """The lines of metrics.json."""
    text = (folder / "metrics.json").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def wait_for(path: Path, process: subprocess.Popen, timeout: float = 180) -> None:
    end = time.monotonic() + timeout
    while not path.exists():
        assert process.poll() is None, process.printed.read_text(encoding="utf-8")[-4000:]
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


LONG = (
    *("SOLVER.MAX_ITER", "8", "SOLVER.CHECKPOINT_PERIOD", "4", "TEST.EVAL_PERIOD", "4"),
    *("TEST.BEST_METRIC", "bbox/AP50", "SOLVER.EMA_DECAY", "0.9"),
)
LOSSES = ("total_loss", "loss_cls_s1", "loss_box_s1", "loss_cls_s2", "loss_box_s2")


@pytest.fixture
def train_long(train_here, monkeypatch):
    """Train for 8 iterations, with checkpoint and evaluation after the fourth.

    The values of each are written: those that detectron2 writes are medians over 20.
    """
    after_step = hooks.PeriodicWriter.after_step

    def write_each(self):
        self._period = 1
        after_step(self)

    monkeypatch.setattr(hooks.PeriodicWriter, "after_step", write_each)
    monkeypatch.setattr(events.JSONWriter.__init__, "__defaults__", (1,))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes
    yield lambda output, *options: train_here(output, *options, *LONG)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture
def whole_run(train_long, whole_folder) -> Path:
    """The output folder of an uninterrupted run."""
    if not (whole_folder / "model_final.pth").exists():
        train_long(whole_folder)
    return whole_folder


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_curve_and_weights(
    start_train_net, train_long, whole_run, tmp_path
):
    process = start_train_net(tmp_path, *LONG)
    wait_for(tmp_path / "last_checkpoint", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "model_final.pth").exists()

    train_long(tmp_path, "--resume")
    assert "Starting training from iteration 4" in (tmp_path / "log.txt").read_text()
    for name in LOSSES:
        resumed = {line["iteration"]: line[name] for line in read_metrics(tmp_path) if name in line}
        whole = {line["iteration"]: line[name] for line in read_metrics(whole_run) if name in line}
        assert whole.keys() == set(range(8))
        for iteration in range(4, 8):
            assert resumed[iteration] == pytest.approx(whole[iteration], rel=1e-5), name
    for key in ("model", "average"):
        assert_same_weights(tmp_path / "model_final.pth", whole_run / "model_final.pth", key)


@pytest.mark.slow
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


@pytest.mark.slow
def test_eval_only_repeats_the_final_evaluation(train_here, whole_run, tmp_path):
    weights = str(whole_run / "model_final.pth")
    results = train_here(tmp_path, "--eval-only", "MODEL.WEIGHTS", weights)
    final = read_metrics(whole_run)[-1]
    names = ("AP", "AP50", "AP60", "AP70", "AP80")
    expected = [final[f"bbox/{name}"] for name in names]
    assert [results["bbox"][name] for name in names] == pytest.approx(expected)
    row = ",".join(f"{value:.4f}" for value in expected)
    assert f"copypaste: {row}" in (tmp_path / "log.txt").read_text()


@pytest.mark.slow
def test_eval_only_with_weights_that_do_not_fit_lists_the_keys(train_here, whole_run, tmp_path):
    weights = str(whole_run / "model_final.pth")
    options = ("--eval-only", "MODEL.WEIGHTS", weights, "MODEL.SRN.C7_CHANNELS", "12")
    with pytest.raises(ValueError, match=r"backbone\.first_step_convs\.c7\.weight") as error:
        train_here(tmp_path, *options)
    message = str(error.value)
    assert "backbone.c7.weight: (8, 8, 3, 3) in the file, (12, 8, 3, 3) in the model" in message


# One step from the same weights, without batch statistics, momentum, decay or clipping: the
# difference of the weights is the gradient.
ONE_STEP = (
    *("MODEL.RESNETS.NORM", "FrozenBN", "MODEL.FPN.NORM", "", "SOLVER.MAX_ITER", "1"),
    *("SOLVER.OPTIMIZER", "SGD", "SOLVER.BASE_LR", "0.1", "SOLVER.WEIGHT_DECAY", "0.0"),
    *("SOLVER.WARMUP_ITERS", "0", "SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR"),
    *("SOLVER.CLIP_GRADIENTS.ENABLED", "False", "DATASETS.TEST", "()"),
)


@pytest.mark.slow
def test_two_gloo_workers_give_the_gradient_of_one(start_train_net, train_here, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    train_here(one, *ONE_STEP)
    test = ("DATASETS.TEST", "('widerface_val',)", "TEST.EVAL_PERIOD", "1")
    log = finish(start_train_net(two, "--num-gpus=2", *ONE_STEP, *test))
    assert "bbox/AP50" in read_metrics(two)[-1]
    assert "World size: 2" in log
    assert "Warning" not in log
    assert_same_weights(two / "model_final.pth", one / "model_final.pth", atol=1e-5, rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_with_files_rate_and_losses(train_here, tmp_path):
    with pytest.raises(NonFiniteLossError, match="loss_cls_s2") as error:
        train_here(
            tmp_path,
            *("SOLVER.BASE_LR", "1e30", "SOLVER.WARMUP_ITERS", "0", "SOLVER.MAX_ITER", "2"),
            *("SOLVER.CLIP_GRADIENTS.ENABLED", "False"),
        )
    message = str(error.value)
    assert re.search(r"learning rate: \d\S*e\+(29|30)\n", message)
    assert message.count("0--Discs") == 4
    log = (tmp_path / "log.txt").read_text()
    assert "NonFiniteLossError" in log
    assert "Start inference" not in log  # though it was the last iteration
    state = torch.load(tmp_path / "nonfinite_rank0.pth", weights_only=True)
    assert "optimizer" in state["trainer"]["_trainer"]
    assert state["model"]


def test_a_missing_data_set_names_the_path_and_the_readme(train_here, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"datasets/README\.md") as error:
        train_here(tmp_path / "out", datasets=tmp_path / "nowhere")
    assert str(tmp_path / "nowhere" / "widerface") in str(error.value)
