"""The application: the page, ``POST /detect`` and ``/picture``, ``GET /settings`` and ``/healthz``.

``POST /detect``: the body is a picture, as it is in its file.

    curl --data-binary @photo.jpg http://127.0.0.1:8000/detect
    curl --data-binary @photo.jpg 'http://127.0.0.1:8000/detect?threshold=0.5'

The answer is ``FrameFaces.to_dict()`` as JSON: the faces of all frames. ``POST /picture`` takes the
same body; its answer is the first frame, upright, as a JPEG. An error is {"error": reason,
"message": text} with a status: 400 damaged or empty, 403 from another site, 408 too slow, 413 too
many bytes or pixels, 415 not a picture or of a format that is not read, 422 a wrong threshold, 503
(with Retry-After) queue full, 500 any other error, which is logged in the server's terminal.
"""

import socket
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException  # the base class, which StaticFiles raises
from starlette.requests import ClientDisconnect

from srn_d2 import __version__
from srn_d2.data.image_errors import (
    InvalidImageError,
    NotAnImageError,
    TooManyPixelsError,
    UnreadFormatError,
)
from srn_d2.inference.defaults import SCORE_THRESHOLD
from srn_d2.inference.image_detector import ImageDetector

from . import pictures
from .detection_queue import DetectionQueue
from .same_origin import SameOriginMiddleware
from .uploads import NAMED_FORMATS, Limits, RequestRefusedError

STATIC_FOLDER = Path(__file__).parent / "static"

# HTTP status of image errors; 400 for all others.
STATUSES = {NotAnImageError: 415, UnreadFormatError: 415, TooManyPixelsError: 413}
CLIENT_CLOSED_REQUEST = 499  # nginx's code; the response is not received


def create_app(
    detector: ImageDetector,
    threshold: float = SCORE_THRESHOLD,
    limits: Limits | None = None,
    host_name: str = "localhost",
    allowed_names: Sequence[str] = (),
) -> FastAPI:
    """The application around a detector.

    Args:
        detector: its ``score_threshold`` is the lowest that the page and requests can ask for, its
            ``max_pixels`` the limit of a picture.
        threshold: initial value of the page's slider, and default of requests.
        limits: None: the defaults.
        host_name: accepted host name of this machine, besides "localhost" and its own host name.
        allowed_names: further names under which a reverse proxy shows the page.
    """
    # Without the API documentation, which would load scripts from other sites.
    app = FastAPI(title="srn-d2", docs_url=None, redoc_url=None, openapi_url=None)
    names = {"localhost", socket.gethostname(), host_name}
    app.add_middleware(SameOriginMiddleware, host_names=names, allowed_names=allowed_names)
    add_error_handlers(app)
    queue = DetectionQueue(limits or Limits())

    @app.get("/healthz")
    async def health() -> dict:
        return {"status": "ok", "version": __version__, "jobs": queue.num_jobs}

    @app.get("/settings")
    async def settings() -> dict:
        return {
            "threshold": threshold,
            "lowest_threshold": detector.score_threshold,
            "max_bytes": queue.limits.max_bytes,
            "max_pixels": detector.max_pixels,
            "formats": NAMED_FORMATS,
        }

    lowest = detector.score_threshold

    @app.post("/detect")
    async def detect(
        request: Request,
        threshold: Annotated[float, Query(ge=lowest, le=1)] = threshold,
    ) -> dict:
        find = partial(pictures.find_faces, detector, threshold=threshold)
        return await queue.process(request, find)

    @app.post("/picture")
    async def picture(request: Request) -> Response:
        show = partial(pictures.show, max_pixels=detector.max_pixels)
        content, media_type = await queue.process(request, show)
        return Response(content, media_type=media_type)

    app.mount("/", StaticFiles(directory=STATIC_FOLDER, html=True))
    return app


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with {"error": reason, "message": text}."""

    @app.exception_handler(RequestRefusedError)
    async def refused(request: Request, error: RequestRefusedError) -> JSONResponse:
        retry_after = error.retry_after
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        return _answer(error.status, error.reason, str(error), headers)

    @app.exception_handler(InvalidImageError)
    async def invalid_image(request: Request, error: InvalidImageError) -> JSONResponse:
        text = str(error)
        if isinstance(error, TooManyPixelsError):
            text += " (srn-d2 serve --max-megapixels)"
        return _answer(STATUSES.get(type(error), 400), error.reason, text)

    @app.exception_handler(RequestValidationError)
    async def invalid_parameter(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors()]
        return _answer(422, "invalid parameter", "; ".join(problems))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        return _answer(CLIENT_CLOSED_REQUEST, "gone", "the client closed the connection")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        reason = HTTPStatus(error.status_code).phrase.lower()
        message = f"{request.method} {request.url.path}: {reason}"
        return _answer(error.status_code, reason, message, error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return _answer(500, "failed", "the server failed: its terminal says why")


def _answer(
    status: int, reason: str, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse({"error": reason, "message": message}, status, headers)
