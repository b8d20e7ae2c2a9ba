"""Pictures from the bodies of requests, within limits."""

import asyncio
from dataclasses import dataclass

from fastapi import Request

NAMED_FORMATS = ("AVIF", "BMP", "GIF", "HEIC", "JPEG", "JPEG 2000", "PNG", "TIFF", "WebP")
"""Formats that the page names, of all that are read."""


@dataclass(frozen=True)
class Limits:
    """Limits of one request and of all pending requests.

    Attributes:
        max_bytes: maximum size of an encoded picture.
        max_jobs: maximum number of pictures that are received, queued or processed; encoded, they
            take up to ``max_jobs * max_bytes`` of memory.
        upload_seconds: maximum duration of an upload.
    """

    max_bytes: int = 32_000_000
    max_jobs: int = 8
    upload_seconds: float = 60.0


class RequestRefusedError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP status.
        reason: short reason, for programs.
        message: full message, for users.
        retry_after: seconds after which the client may retry.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: int | None = None):
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


async def read_body(request: Request, limits: Limits) -> bytes:
    """Read the body of a request; reading stops at the limit, whatever its header says.

    Raises:
        RequestRefusedError: it is too large (413), too slow (408), empty (400) or a form (415).
        ClientDisconnect: the client has disconnected.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise RequestRefusedError(
            415, "a form", "send the picture itself: curl --data-binary @photo.jpg URL"
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.max_bytes:
        raise _too_large(limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limits.max_bytes:
                    raise _too_large(limits)
                body += chunk
    except TimeoutError as error:
        message = f"the picture took more than {limits.upload_seconds:g} seconds to arrive"
        raise RequestRefusedError(408, "too slow", message) from error
    if not body:
        raise RequestRefusedError(400, "empty", "the request has no picture")
    return bytes(body)


def _too_large(limits: Limits) -> RequestRefusedError:
    megabytes = limits.max_bytes / 1e6
    message = f"the file is larger than the limit of {megabytes:g} MB"
    return RequestRefusedError(413, "too many bytes", message)
