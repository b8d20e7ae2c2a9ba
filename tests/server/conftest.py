"""Fixtures of the server's tests: the shipped detector, a photograph, a server that runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi import FastAPI
from matplotlib import cbook
from PIL import Image

from srn_d2 import FaceDetector
from srn_d2.data.image_io import EXIF_ORIENTATION
from srn_d2.server.run import bind, make_server, url_of

LOWEST_THRESHOLD = 0.05
ROTATED_TO_THE_LEFT = 6  # EXIF: to be turned by 90 degrees to the right


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector(device="cpu", score_threshold=LOWEST_THRESHOLD, max_pixels=25_000_000)


@pytest.fixture(scope="session")
def photo() -> Path:
    """A portrait, 512 x 600, in which the detector finds some faces down to low scores."""
    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


@pytest.fixture(scope="session")
def rotated_photo(photo, tmp_path_factory) -> Path:
    """The portrait as a camera on its side stores it: turned, and with an EXIF orientation."""
    path = tmp_path_factory.mktemp("photos") / "rotated.jpg"
    stored = Image.open(photo).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = ROTATED_TO_THE_LEFT
    stored.save(path, exif=exif, quality=95)
    return path


@pytest.fixture(scope="session")
def running() -> Callable:
    """Run an application while a with statement lasts: ``with running(app) as url:``."""

    @contextmanager
    def run(app: FastAPI) -> Iterator[str]:
        with bind("127.0.0.1", 0) as listening:
            server = make_server(app)
            thread = threading.Thread(target=server.run, args=([listening],))
            thread.start()
            try:
                yield url_of(listening)
            finally:
                server.should_exit = True
                thread.join()

    return run
