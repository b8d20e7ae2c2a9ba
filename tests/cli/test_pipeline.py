"""Inputs side by side in threads and processes."""

import functools
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from srn_d2.cli.journal import Result
from srn_d2.cli.pipeline import (
    ENDED,
    INPUTS_PER_WORKER,
    ProcessPipeline,
    ProcessStartError,
    run_in_threads,
)
from srn_d2.cli.sources import Source


def sources_of(number):
    return [Source(Path(f"/{i}.png"), Path(f"{i}.png"), Path(str(i))) for i in range(number)]


def echo(source):
    return Result.of(source, {"file_name": str(source.path)})


@pytest.mark.parametrize("num_threads", [1, 3])
def test_threads_do_every_input_once_and_hold_few(num_threads):
    taken, most = [], []

    def source_by_source():
        for source in sources_of(50):
            taken.append(source)
            yield source

    done = []
    for result in run_in_threads(echo, source_by_source(), num_threads):
        done.append(result.path)
        most.append(len(taken) - len(done))
    assert sorted(done) == sorted(str(source.path) for source in sources_of(50))
    assert max(most) <= 2 * INPUTS_PER_WORKER * num_threads


def test_threads_run_at_the_same_time():
    barrier = threading.Barrier(3, timeout=60)

    def meet(source):
        barrier.wait()
        return echo(source)

    assert len(list(run_in_threads(meet, sources_of(9), 3))) == 9


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_an_error_stops_the_threads_and_loses_no_result(num_threads):
    done, results = [], []

    def fail(source):
        if source.stem == Path("7"):
            raise RuntimeError("the disk is full")
        done.append(str(source.path))
        return echo(source)

    def run():
        for result in run_in_threads(fail, sources_of(1000), num_threads):
            results.append(result.path)

    with pytest.raises(RuntimeError, match="full"):
        run()
    assert sorted(results) == sorted(done)
    assert len(done) < 40


def ends_at(bad, source):
    """A worker that is killed at some inputs; it runs in the worker process."""
    time.sleep(0.01)
    if source.stem.name in bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return echo(source)


def start_ends_at(bad):
    return functools.partial(ends_at, bad)


def fails_to_start():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_an_input_that_ends_its_process_fails_and_the_others_are_done():
    pipeline = ProcessPipeline(functools.partial(start_ends_at, ["4"]), 2)
    results = {result.path: result.problem for result in pipeline.run(sources_of(12))}
    assert results == {f"/{i}.png": ENDED if i == 4 else None for i in range(12)}


@pytest.mark.slow
def test_processes_that_cannot_start():
    with pytest.raises(ProcessStartError, match="--num-processes"):
        list(ProcessPipeline(fails_to_start, 2).run(sources_of(3)))
