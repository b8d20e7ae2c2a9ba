"""A queue of pictures for the detector, so that the server stays responsive."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from .uploads import Limits, RequestRefusedError, read_body

RETRY_AFTER = 2
"""Seconds after which a refused client may retry."""


Result = TypeVar("Result")


class DetectionQueue:
    """First-in-first-out queue; one picture at a time is processed, in a separate thread.

    Concurrency would take more memory without a speed-up: the detector uses all cores.

    Args:
        limits: limits of the queue and of each picture.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self.num_jobs = 0
        self._turn = asyncio.Semaphore(1)

    async def process(self, request: Request, work: Callable[[bytes], Result]) -> Result:
        """The result of ``work`` for the picture that is a request's body.

        Args:
            work: function of the encoded picture, called in another thread.

        Raises:
            RequestRefusedError: too many pictures wait or the server ends (503), or as
                ``read_body`` does.
            Exception: as ``work`` does.
            ClientDisconnect: the client has gone before its picture's turn.
        """
        with self._place():  # before the body is received, as it is kept in memory
            try:
                encoded = await read_body(request, self.limits)
                async with self._turn:
                    if await request.is_disconnected():
                        raise ClientDisconnect
                    return await run_in_threadpool(work, encoded)
            except asyncio.CancelledError as error:  # only the server's shutdown cancels
                raise RequestRefusedError(503, "ending", "the server ends") from error

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self.num_jobs >= self.limits.max_jobs:
            message = f"{self.num_jobs} pictures are being processed or wait: try again"
            raise RequestRefusedError(503, "busy", message, RETRY_AFTER)
        self.num_jobs += 1
        try:
            yield
        finally:
            self.num_jobs -= 1
