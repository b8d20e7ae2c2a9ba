"""Processes that answer each line of their standard input with one of their output."""

import contextlib
import subprocess

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables with the number of threads of numerical libraries."""


def end_process(process: subprocess.Popen) -> None:
    """Kill a process with pipes for its input and output, and close these."""
    process.kill()
    process.wait()
    with contextlib.suppress(OSError):  # a last request that was not sent
        process.stdin.close()
    process.stdout.close()
