"""Several runs at a time, each a sequence of processes; a lock keeps other invocations out."""

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .runs import Run, Step

LOCK_FILE = "lock"
# Seconds between two looks at a run that another invocation has locked.
_LOCK_PERIOD = 2.0
# Seconds that a process has for ending before it is killed.
_GRACE = 10.0
# Lines of a process's output in the message of its failure, with and without a traceback.
_NUM_LOG_LINES, _NUM_PLAIN_LINES = 40, 5

logger = logging.getLogger("ablation")


class StepFailed(RuntimeError):
    """A process of a run that ended with an error; the message has the end of its output."""


class Jobs:
    """Worker threads that take runs from a queue and wait for their processes.

    Args:
        runs: in the order in which they start.
        image_ids: images of the evaluation.
        environments: environment of each job's processes; their number is that of the jobs.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        image_ids: Sequence[str],
        environments: Sequence[Mapping[str, str]],
    ):
        self._queue = deque(runs)
        self._image_ids = image_ids
        self._mutex = threading.Lock()
        self._stopping = threading.Event()
        self._processes: dict[int, subprocess.Popen] = {}
        self.failures: dict[str, str] = {}
        """Name of a run -> why it failed."""
        self.active: dict[str, str] = {}
        """Name of a run -> the step that it is at."""
        self._locked: set[str] = set()
        self._threads = [
            threading.Thread(target=self._work, args=(environment,), daemon=True)
            for environment in environments
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for all runs at most this long; True once all are done or have failed."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """End all processes; a run that is stopped is no failure."""
        self._stopping.set()
        with self._mutex:
            processes = list(self._processes.values())
        for kind in (signal.SIGTERM, signal.SIGKILL):
            for process in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, kind)
            end = time.monotonic() + _GRACE
            for process in processes:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.0, end - time.monotonic()))
        for thread in self._threads:
            thread.join()

    def _work(self, environment: Mapping[str, str]) -> None:
        while not self._stopping.is_set():
            try:
                run = self._queue.popleft()
            except IndexError:
                return
            try:
                with _locked(run.folder / LOCK_FILE) as lock:
                    if lock is None:
                        if run.name not in self._locked:
                            logger.info("%s: another process is at it, tried again later", run.name)
                            self._locked.add(run.name)
                        self._queue.append(run)
                        self._stopping.wait(_LOCK_PERIOD)
                    else:
                        self._do(run, environment, lock)
            except (StepFailed, OSError) as error:
                if not self._stopping.is_set():
                    self.failures[run.name] = str(error)
                    logger.error("%s failed: %s", run.name, error)
            finally:
                self.active.pop(run.name, None)

    def _do(self, run: Run, environment: Mapping[str, str], lock: int) -> None:
        """Do the steps of a run that are not done yet."""
        for step in run.pending_steps(self._image_ids):
            if self._stopping.is_set():
                return
            self.active[run.name] = step.name
            logger.info("%s: %s", run.name, step.name)
            self._execute(run, step, environment, lock)
        run.remove_checkpoints()
        logger.info("%s: done", run.name)

    def _execute(self, run: Run, step: Step, environment: Mapping[str, str], lock: int) -> None:
        """Run the process of a step.

        Raises:
            StepFailed: it ended with an error.
        """
        start = time.monotonic()
        with open(run.log, "ab") as log:
            begin = log.tell()
            with self._mutex:
                if self._stopping.is_set():
                    return
                process = subprocess.Popen(
                    step.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    start_new_session=True,  # Ctrl-C reaches this process alone, which ends it
                    pass_fds=[lock],  # locked as long as the process lives, even without this one
                )
                self._processes[process.pid] = process
            status = process.wait()
            with self._mutex:
                del self._processes[process.pid]
        run.note_seconds(step, time.monotonic() - start)
        if status:
            with open(run.log, "rb") as file:
                file.seek(begin)
                reason = "\n  ".join(_last_message(file.read().decode(errors="replace")))
            raise StepFailed(
                f"the {step.name} ended with status {status} (its output: {run.log}): {reason}"
            )


def _last_message(output: str) -> list[str]:
    """The last lines of a process's output; after a traceback those of the error alone."""
    lines = output.rstrip().splitlines()[-_NUM_LOG_LINES:]
    frames = [i for i, line in enumerate(lines) if line.startswith('  File "')]
    if not frames:
        return lines[-_NUM_PLAIN_LINES:]
    after = lines[frames[-1] + 1 :]
    while after and after[0].startswith("    "):  # the frame's source
        after.pop(0)
    return after


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """Context with a file locked by this process: its descriptor; None if another has locked it.

    The lock lasts as long as this process or one that has inherited the descriptor.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


def environments(
    num_jobs: int, num_gpus: int, on_cuda: bool, num_cores: int, num_devices: int
) -> list[dict[str, str]]:
    """The environment of each job's processes: its share of the cores, its own GPUs.

    Args:
        num_jobs: runs at a time.
        num_gpus: workers of a run.
        on_cuda: the runs train on GPUs.
        num_cores: usable cores of this machine.
        num_devices: GPUs of this machine, those of CUDA_VISIBLE_DEVICES if it is set.

    Raises:
        ValueError: there are not as many GPUs.
    """
    base = dict(os.environ)
    if not on_cuda:
        if num_jobs > 1 or num_gpus > 1:
            base.setdefault("OMP_NUM_THREADS", str(max(1, num_cores // (num_jobs * num_gpus))))
        return [base] * num_jobs
    if num_jobs * num_gpus > num_devices:
        raise ValueError(
            f"{num_jobs} jobs of {num_gpus} GPUs each need {num_jobs * num_gpus} GPUs, and there "
            f"are {num_devices}: set --jobs and --num-gpus"
        )
    listed = base.get("CUDA_VISIBLE_DEVICES")
    devices = listed.split(",") if listed else [str(i) for i in range(num_devices)]
    shares = [devices[job * num_gpus : (job + 1) * num_gpus] for job in range(num_jobs)]
    return [{**base, "CUDA_VISIBLE_DEVICES": ",".join(share)} for share in shares]
