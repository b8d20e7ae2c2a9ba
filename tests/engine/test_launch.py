"""Errors of train_net.py end in one sentence, from one worker and from several."""

import logging
import os
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from srn_d2 import train
from srn_d2.data import register_builtin_datasets
from srn_d2.error_messages import message_of

CONFIG = ("--config-file", "configs/srn_toy.yaml")

BELOW_MAIN = """
import sys
from srn_d2.data.datasets.common import register_face_dataset
sys.path.insert(0, {root!r})
from train_net import invoke_main

if __name__ == "__main__":
    register_face_dataset("mine", list, evaluator_type="coco_face")
    invoke_main()
"""


@pytest.fixture
def run(repo_root, tiny_datasets, monkeypatch, capsys, tmp_path):
    """Exit status and last line of stderr of a command line."""
    monkeypatch.chdir(repo_root)
    register_builtin_datasets(tiny_datasets)
    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "srn_d2")]
    states = [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers]

    def call(*argv):
        with pytest.raises(SystemExit) as stop:
            train.invoke_main([*CONFIG, *argv])
        return stop.value.code, capsys.readouterr().err.strip()

    yield call
    register_builtin_datasets()
    for logger, state in zip(loggers, states, strict=True):
        logger.handlers[:], logger.propagate, logger.level = state


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["SEED", "1", "--resume"], "error: command line: the flag --resume is among"),
        (["DATASETS.TRAIN", "toyface_train"], "error: command line: DATASETS.TRAIN is"),
        (["SOLVER.MAX_ITERS", "1"], "error: command line: there is no key SOLVER.MAX_ITERS"),
        (["--num-gpus", "0"], "error: --num-gpus is 0"),
        (["--machine-rank", "1"], "error: --machine-rank is 1"),
        (["--num-machines", "2", "--dist-url", "auto"], "error: --dist-url auto is for one"),
        (["--num-gpus", "2", "DATASETS.TRAIN", "('toyfac_train',)"], "error: DATASETS.TRAIN: no"),
        (["OUTPUT_DIR", "README.md"], "error: OUTPUT_DIR is README.md, but README.md is no"),
        (["OUTPUT_DIR", ""], "error: OUTPUT_DIR is empty"),
        (["SOLVER.AMP.ENABLED", "True"], "error: SOLVER.AMP.ENABLED is True: it needs CUDA"),
        (["MODEL.DEVICE", "gpu"], "error: MODEL.DEVICE is 'gpu'"),
    ],
)
def test_errors_before_the_set_up(run, argv, message):
    status, printed = run(*argv)
    assert status == 1
    assert printed.startswith(message)
    assert "Traceback" not in printed
    assert "\n" not in printed


@pytest.mark.parametrize("is_ours", [True, False])
def test_the_traceback_of_other_packages_is_in_the_log(run, monkeypatch, tmp_path, is_ours):
    def fail(cfg, resume):
        if is_ours:
            train.check_solver(None)
        raise TypeError("odd")

    monkeypatch.setattr(train, "train", fail)
    status, printed = run("OUTPUT_DIR", str(tmp_path))
    log = (tmp_path / "log.txt").read_text()
    assert status == 1
    assert "Traceback" not in printed
    assert printed.endswith(f"(traceback: {tmp_path / 'log.txt'})")
    assert "in fail" in log


def test_evaluation_without_weights_is_no_evaluation(run, tmp_path):
    options = ("MODEL.WEIGHTS", "", "DATASETS.TEST", "('widerface_val',)")
    status, printed = run("--eval-only", *options, "OUTPUT_DIR", str(tmp_path))
    assert status == 1
    assert "error: MODEL.WEIGHTS is empty: name the checkpoint to evaluate" in printed


@pytest.mark.slow
def test_data_sets_registered_below_main_with_two_workers(repo_root, tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(BELOW_MAIN.format(root=str(repo_root)))
    options = ("DATASETS.TRAIN", "('mine',)", "DATASETS.TEST", "()", "MODEL.DEVICE", "cpu")
    flags = ("--num-gpus", "2", "--dist-url", "auto")
    done = subprocess.run(
        [sys.executable, str(script), *CONFIG, *flags, *options, "OUTPUT_DIR", str(tmp_path)],
        cwd=repo_root,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 1
    assert "error: DATASETS.TRAIN: no data set 'mine'" in done.stderr
    assert "must be above `if __name__ == '__main__':`" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


class Failing(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise FloatingPointError("the first line\nValue: the second")


def test_the_message_of_a_data_worker_has_no_traceback():
    with pytest.raises(FloatingPointError) as error:
        next(iter(DataLoader(Failing(), num_workers=1)))
    assert "Traceback" in str(error.value)
    assert message_of(error.value) == "the first line\nValue: the second"
    assert message_of(KeyError("no key\nX")) == "no key\nX"
    assert message_of(torch.OutOfMemoryError()) == "OutOfMemoryError"
