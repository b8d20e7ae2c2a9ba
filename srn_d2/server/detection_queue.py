"""A queue of pictures for the detector, so that the server goes on answering meanwhile."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from PIL import Image
from starlette.requests import ClientDisconnect

from srn_d2.data.image_io import open_image
from srn_d2.inference.faces import Faces

from .uploads import FORMATS, Limits, RequestRefusedError, read_body

RETRY_AFTER = 2
"""Seconds after which a client that was turned away may try again."""


class DetectionQueue:
    """One picture at a time is processed, in a thread of its own; the others wait in turn.

    More at a time would take more memory and not be faster: the detector uses all cores.

    Args:
        detect: finds the faces of a picture.
        limits: of pictures that wait, and of each of them.
    """

    def __init__(self, detect: Callable[[Image.Image], Faces], limits: Limits):
        self.limits = limits
        self.num_jobs = 0
        self._detect = detect
        self._turn = asyncio.Semaphore(1)

    async def process(self, request: Request) -> Faces:
        """The faces in the picture that is a request's body.

        Raises:
            RequestRefusedError: too many pictures wait or the server ends (503), or as
                ``read_body`` does.
            InvalidImageError: as ``open_image`` and the detector do.
            ClientDisconnect: the client has gone before its picture's turn.
        """
        with self._place():  # before the body is received: it would be kept
            try:
                encoded = await read_body(request, self.limits)
                async with self._turn:
                    if await request.is_disconnected():
                        raise ClientDisconnect
                    return await run_in_threadpool(self._decode_and_detect, encoded)
            except asyncio.CancelledError as error:  # nobody but the server at its end cancels
                raise RequestRefusedError(503, "ending", "the server ends") from error

    def _decode_and_detect(self, encoded: bytes) -> Faces:
        with open_image(encoded, "the picture", FORMATS) as image:
            return self._detect(image)

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
