"""Options of several workers, and their threads."""

import multiprocessing
import time

import pytest

from helpers.detect_files import save_image
from srn_d2 import cli
from srn_d2.cli import shared_detector, workers
from srn_d2.cli.shared_detector import plan_threads


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num-machines", "2"], "--dist-url"),
        (["--machine-rank", "1"], "--machine-rank is 1, of --num-machines 1"),
        (["--num-processes", "0"], "0 is less than 1"),
        (["--num-processes", "2", "--num-gpus", "2"], "give --num-processes or --num-gpus"),
        (["--runtime", "tensorrt"], "invalid choice"),
    ],
)
def test_wrong_options(tmp_path, capsys, options, message):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["detect", str(save_image(tmp_path / "a.png")), *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("num_processes", [1, 2, 5])
@pytest.mark.parametrize("num_inputs", [0, 1, 2, 1000])
def test_threads_never_exceed_the_cores(monkeypatch, cores, num_processes, num_inputs):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(shared_detector, "usable_cores", lambda: cores)
    plan = plan_threads(num_inputs, num_processes)
    assert min(plan) >= 1
    assert num_processes * plan.inputs * plan.network <= max(cores, num_processes)
    assert plan.inputs <= max(num_inputs, 1)


def test_omp_num_threads_has_precedence(monkeypatch):
    monkeypatch.setattr(shared_detector, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert plan_threads(100) == (2, 1)


def test_workers_that_do_not_stop_are_ended(monkeypatch):
    """As after a signal to the command alone, of which they know nothing."""
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.1)
    worker = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    worker.start()
    workers.end_workers()
    assert worker.exitcode not in (0, None)
