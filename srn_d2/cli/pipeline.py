"""Inputs processed side by side, in threads or in processes; results in the order of completion.

Either way only a few inputs are in work at a time: memory does not grow with their number.
"""

import itertools
import logging
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool

from tqdm import tqdm

from .input_processing import Process
from .journal import Result
from .printing import printable
from .sources import Source

logger = logging.getLogger(__name__)

# Inputs given to each thread or process at a time: one in work, one that waits.
INPUTS_PER_WORKER = 2
# Times that a process may end with an input, which it has alone, before the input counts as failed.
MAX_ENDED = 2
ENDED = "its process was ended"


class ProcessStartError(RuntimeError):
    """Worker processes end while they are prepared."""


def run_in_threads(
    process: Process, sources: Iterable[Source], num_threads: int
) -> Iterator[Result]:
    """Process inputs in threads: decoding and encoding run beside the network.

    Args:
        process: several threads may call it.

    Raises:
        what ``process`` raises, after the results of all inputs that are in work then.
    """
    rest = iter(sources)
    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="input")
    try:
        first = itertools.islice(rest, INPUTS_PER_WORKER * num_threads)
        waiting = {pool.submit(process, source) for source in first}
        while waiting:
            done, waiting = wait_for(waiting, return_when=FIRST_COMPLETED)
            if any(future.exception() for future in done):
                pool.shutdown(cancel_futures=True)
                done |= {future for future in waiting if not future.cancelled()}
                waiting = set()
            else:
                waiting |= {pool.submit(process, x) for x in itertools.islice(rest, len(done))}
            for future in _errors_last(done):
                yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _errors_last(done: Iterable[Future]) -> list[Future]:
    """Futures that are done, those with an error last: results are not lost to it."""
    return sorted(done, key=lambda future: future.exception() is not None)


class ProcessPipeline:
    """Inputs processed in worker processes, each with a detector of its own.

    If a process is killed, by the system for lack of memory for instance, new ones are started and
    the inputs in work are done again, one at a time. One at which a process ends again and again
    counts as failed.

    Args:
        start: makes a worker's ``Process``; it is called in each of them, and can be pickled.
        num_processes: number of processes.

    Raises:
        ProcessStartError: the processes cannot be started.
    """

    def __init__(self, start: Callable[[], Process], num_processes: int):
        self._start = start
        self._num_processes = num_processes
        self._children = set(multiprocessing.active_children())  # not of this pipeline
        self._pool = self._new_pool()
        self._in_work: dict[Future, Source] = {}
        self._alone: deque[Source] = deque()  # to be done one at a time
        self._num_ended: Counter[Source] = Counter()

    def run(self, sources: Iterable[Source]) -> Iterator[Result]:
        """The results of inputs.

        Raises:
            OutputFolderError: nothing can be written.
            ProcessStartError: the processes cannot be started again.
        """
        rest = iter(sources)
        try:
            while self._submit(rest) or self._in_work or self._alone:
                done, _ = wait_for(self._in_work, return_when=FIRST_COMPLETED)
                lost = []
                for future in _errors_last(done):
                    source = self._in_work.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        lost.append(source)
                    else:
                        yield result
                if lost:
                    yield from self._recover(lost)
        finally:
            self._end()

    def _submit(self, rest: Iterator[Source]) -> bool:
        """Give inputs to the processes; whether there were any."""
        if self._alone:
            sources = [] if self._in_work else [self._alone.popleft()]
        else:
            free = INPUTS_PER_WORKER * self._num_processes - len(self._in_work)
            sources = list(itertools.islice(rest, free))
        for source in sources:
            try:
                future = self._pool.submit(run_in_worker, source)
            except BrokenProcessPool as error:
                future = Future()
                future.set_exception(error)
            self._in_work[future] = source
        return bool(sources)

    def _recover(self, lost: list[Source]) -> Iterator[Result]:
        """Start new processes, and have the inputs in work done one at a time."""
        lost += self._in_work.values()
        self._in_work.clear()
        logger.warning("A worker process was ended: its inputs are done again")
        self._stop_processes()
        self._pool.shutdown()
        self._pool = self._new_pool()
        if len(lost) == 1:
            self._num_ended[lost[0]] += 1
            if self._num_ended[lost[0]] >= MAX_ENDED:
                message = f"the process that did {printable(lost[0].path)} was ended, twice"
                record = {"file_name": str(lost[0].path), "error": message}
                yield Result.of(lost[0], record, ENDED)
                return
        self._alone.extendleft(reversed(lost))

    def _new_pool(self) -> ProcessPoolExecutor:
        pool = ProcessPoolExecutor(
            self._num_processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(self._start,),
        )
        try:
            pool.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise ProcessStartError(
                "A worker process ends before it has begun: take fewer by --num-processes, as they "
                "may lack memory"
            ) from error
        return pool

    def _end(self) -> None:
        if self._in_work:  # after an error or Ctrl-C
            self._stop_processes()
        self._pool.shutdown(cancel_futures=True)

    def _stop_processes(self) -> None:
        for child in set(multiprocessing.active_children()) - self._children:
            child.terminate()


_worker: Process


def _start_worker(start: Callable[[], Process]) -> None:
    """Prepare this process for ``run_in_worker``."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Its usual lock has a semaphore, which is left behind when this process is terminated.
    tqdm.set_lock(threading.RLock())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("srn_d2.cli").setLevel(logging.INFO)
    _worker = start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, by SIGKILL for instance."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def run_in_worker(source: Source) -> Result:
    """Process an input in a worker process."""
    return _worker(source)
