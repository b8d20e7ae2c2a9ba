"""Jobs of runs: order, failures, stopping, locks, with real processes."""

import fcntl
import subprocess
import sys
import time

import pytest

from ablation.jobs import LOCK_FILE, Jobs, environments
from ablation.runs import Step

PYTHON = (sys.executable, "-S", "-c")


class ScriptedRun:
    """A run whose steps are Python code; each leaves a file of its name."""

    def __init__(self, folder, **codes):
        self.folder = folder
        self.name = folder.name
        self.log = folder / "output.log"
        self.codes = codes
        folder.mkdir()

    def pending_steps(self, image_ids):
        return [
            Step(name, (*PYTHON, f"{code}\nopen({str(self.folder / name)!r}, 'x').close()"))
            for name, code in self.codes.items()
            if not (self.folder / name).exists()
        ]

    def remove_checkpoints(self):
        pass

    def note_seconds(self, step, seconds):
        pass


def run_all(runs, num_jobs=1):
    jobs = Jobs(runs, [], [{}] * num_jobs)
    jobs.start()
    assert jobs.wait(60)
    jobs.stop()
    return jobs


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_failed_run_does_not_stop_the_others(tmp_path):
    bad = ScriptedRun(tmp_path / "bad", training="print('no images')\nraise SystemExit(3)", end="")
    good = ScriptedRun(tmp_path / "good", training="", evaluation="")
    jobs = run_all([bad, good])
    assert list(jobs.failures) == ["bad"]
    assert "the training ended with status 3" in jobs.failures["bad"]
    assert jobs.failures["bad"].endswith("no images")
    assert not (bad.folder / "end").exists()
    assert (good.folder / "evaluation").exists()
    assert jobs.active == {}


def test_of_a_traceback_the_error_is_told(tmp_path):
    code = "def crop():\n  raise ValueError('crop 0 is\\n  too small')\ncrop()"
    jobs = run_all([ScriptedRun(tmp_path / "run", training=code)])
    assert jobs.failures["run"].endswith(": ValueError: crop 0 is\n    too small")
    assert "Traceback" not in jobs.failures["run"]


def test_steps_that_are_done_are_skipped(tmp_path):
    run = ScriptedRun(tmp_path / "run", training="raise SystemExit(1)", evaluation="")
    (run.folder / "training").touch()
    assert run_all([run]).failures == {}
    assert (run.folder / "evaluation").exists()


def test_several_jobs_run_at_the_same_time(tmp_path):
    """Each of two runs waits for the other's file."""
    code = (
        "import os, time\nopen('{}', 'x').close()\nwhile not os.path.exists('{}'): time.sleep(.01)"
    )
    a, b = str(tmp_path / "a-began"), str(tmp_path / "b-began")
    runs = [
        ScriptedRun(tmp_path / "a", training=code.format(a, b)),
        ScriptedRun(tmp_path / "b", training=code.format(b, a)),
    ]
    assert run_all(runs, num_jobs=2).failures == {}


def test_stopping_ends_the_processes_and_fails_nothing(tmp_path):
    code = f"open({str(tmp_path / 'began')!r}, 'x').close()\nimport time\ntime.sleep(1000)"
    runs = [
        ScriptedRun(tmp_path / "first", training=code),
        ScriptedRun(tmp_path / "second", end=""),
    ]
    jobs = Jobs(runs, [], [{}])
    jobs.start()
    wait_for((tmp_path / "began").exists)
    jobs.stop()
    assert jobs.wait(0)
    assert jobs.failures == {}
    assert not (runs[1].folder / "end").exists()


def test_a_run_waits_for_the_process_of_a_killed_invocation(tmp_path, monkeypatch):
    """A process that was left behind holds the lock that it has inherited."""
    monkeypatch.setattr("ablation.jobs._LOCK_PERIOD", 0.05)
    run = ScriptedRun(tmp_path / "run", training="")
    with open(run.folder / LOCK_FILE, "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        left = subprocess.Popen(
            [*PYTHON, "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]
        )
    other = ScriptedRun(tmp_path / "other", training="")
    jobs = Jobs([run, other], [], [{}])
    jobs.start()
    wait_for((other.folder / "training").exists)
    assert not (run.folder / "training").exists()
    left.communicate(b"\n")
    assert jobs.wait(60)
    assert (run.folder / "training").exists()


def test_jobs_share_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    made = environments(2, 1, on_cuda=False, num_cores=4, num_devices=0)
    assert [environment["OMP_NUM_THREADS"] for environment in made] == ["2", "2"]
    assert "OMP_NUM_THREADS" not in environments(1, 1, False, 4, 0)[0]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert environments(2, 1, False, 4, 0)[0]["OMP_NUM_THREADS"] == "3"


def test_jobs_have_gpus_of_their_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7,9")
    made = environments(2, 2, on_cuda=True, num_cores=4, num_devices=5)
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in made] == ["4,5", "6,7"]
    with pytest.raises(ValueError, match="3 jobs of 2 GPUs each need 6 GPUs, and there are 5"):
        environments(3, 2, on_cuda=True, num_cores=4, num_devices=5)
