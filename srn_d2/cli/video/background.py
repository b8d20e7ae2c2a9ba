"""Work in threads beside the network: decoding before it, encoding after it.

FFmpeg releases Python's global lock while it decodes and encodes.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1
_END = object()


class Prefetch(Generic[T]):
    """Items of an iterable, which a thread reads ahead.

    An exception of the iterable is raised after the items before it. As a context it ends the
    thread.

    Args:
        items: read in the thread only.
        size: maximum number of items read ahead.
    """

    def __init__(self, items: Iterable[T], size: int):
        self._queue: queue.Queue = queue.Queue(size)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, args=(items,), daemon=True)
        self._thread.start()

    def _read(self, items: Iterable[T]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
        except BaseException as error:  # raised where the items are used
            self._error = error
        self._put(_END)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def __iter__(self) -> Iterator[T]:
        while (item := self._queue.get()) is not _END:
            yield item
        if self._error is not None:
            raise self._error

    def __enter__(self) -> "Prefetch[T]":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class BackgroundConsumer(Generic[T]):
    """Calls a function with each item, in order, in a thread.

    Args:
        function: its exception is raised by the next ``put`` or ``close``.
        size: maximum number of items that wait.
    """

    def __init__(self, function: Callable[[T], object], size: int):
        self._function = function
        self._queue: queue.Queue = queue.Queue(size)
        self._error: BaseException | None = None
        self._is_cancelled = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (item := self._queue.get()) is not _END:
            if self._error is None and not self._is_cancelled:
                try:
                    self._function(item)
                except BaseException as error:  # raised by put or close
                    self._error = error

    def put(self, item: T) -> None:
        """Add an item; waits while there are too many."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def close(self, cancel: bool = False) -> None:
        """Wait until all items are done, or, if cancelled, for the item in work only."""
        self._is_cancelled = cancel
        self._queue.put(_END)
        self._thread.join()
        if self._error is not None and not cancel:
            raise self._error
