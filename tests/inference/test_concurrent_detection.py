"""A detector that several threads share."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from srn_d2.data.image_io import TooManyPixelsError
from srn_d2.inference.concurrent_detection import BatchingDetector, ThreadedDetector
from srn_d2.inference.faces import Faces


class SizeDetector:
    """Finds a face as large as the image; images of one pixel are refused."""

    max_pixels = 10**9

    def __init__(self):
        self.batches = []
        self.may_run = threading.Event()
        self.may_run.set()

    def __call__(self, images, errors="raise"):
        self.may_run.wait()
        is_list = isinstance(images, list)
        found = [self._detect(image) for image in (images if is_list else [images])]
        self.batches.append(len(found))
        for faces in found:
            if errors == "raise" and isinstance(faces, Exception):
                raise faces
        return found if is_list else found[0]

    def _detect(self, image):
        height, width = image.shape[:2]
        if height == 13:
            raise RuntimeError("the network failed")
        if height == width == 1:
            return TooManyPixelsError("too many")
        return Faces(np.array([[0, 0, width, height]]), np.ones(1), (height, width))


def images_of(number):
    return [np.zeros((20 + i, 30, 3), np.uint8) for i in range(number)]


@pytest.mark.parametrize("kind", [lambda d: ThreadedDetector(d, 3), BatchingDetector])
def test_each_image_gets_its_own_faces(kind):
    shared = kind(SizeDetector())
    images = images_of(40)
    with ThreadPoolExecutor(8) as pool:
        single = list(pool.map(shared, images))
    for found in (single, shared(images)):
        assert [faces.image_size for faces in found] == [image.shape[:2] for image in images]
    assert shared.max_pixels == 10**9
    shared.close()


def test_images_that_wait_are_one_batch():
    detector = SizeDetector()
    shared = BatchingDetector(detector, max_images=4)
    detector.may_run.clear()
    with ThreadPoolExecutor(9) as pool:
        futures = [pool.submit(shared, image) for image in images_of(9)]
        while shared._waiting.qsize() < 5:  # the first thread's image, or more, is taken
            pass
        detector.may_run.set()
        assert [future.result().image_size[0] for future in futures] == list(range(20, 29))
    assert sum(detector.batches) == 9
    assert max(detector.batches) <= 4
    assert len(detector.batches) < 9
    shared.close()


@pytest.mark.parametrize("kind", [lambda d: ThreadedDetector(d, 3), BatchingDetector])
@pytest.mark.parametrize(("side", "error"), [(1, TooManyPixelsError), (13, RuntimeError)])
def test_an_error_reaches_the_thread_of_its_image_alone(kind, side, error):
    shared = kind(SizeDetector())
    images = [*images_of(3), np.zeros((side, side, 3), np.uint8), *images_of(3)]
    with ThreadPoolExecutor(7) as pool:
        futures = [pool.submit(shared, image) for image in images]
    assert [type(future.exception()) for future in futures] == [
        *[type(None)] * 3,
        error,
        *[type(None)] * 3,
    ]
    shared.close()
