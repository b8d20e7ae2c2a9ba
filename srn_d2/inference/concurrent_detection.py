"""Detectors that several threads share: lists spread over threads, or calls joined in batches."""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np

from .faces import Faces
from .image_detector import ImageDetector

LARGE_PIXELS = 8_000_000
"""Number of pixels from which images are detected one at a time, as several would take too much
memory."""


class ThreadedDetector:
    """Detects the images of a list in several threads, each with a network on one core.

    On a CPU this is faster than one network on all cores: each layer would wait for its slowest
    thread.

    Attributes:
        detector: several threads may call it.
        max_pixels: maximum number of pixels of an image.

    Args:
        num_threads: number of images at the same time.
    """

    def __init__(self, detector: ImageDetector, num_threads: int):
        self.max_pixels = detector.max_pixels
        self.detector = detector
        self._pool = ThreadPoolExecutor(num_threads, thread_name_prefix="detector")
        self._one_large = threading.Lock()

    def __call__(self, images: np.ndarray | Sequence[np.ndarray]) -> Faces | list[Faces]:
        """The faces of an image uint8 (H, W, 3), in this thread, or of each of a list."""
        if isinstance(images, (list, tuple)):
            return list(self._pool.map(self._detect, images))
        return self._detect(images)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _detect(self, image: np.ndarray) -> Faces:
        is_large = image.shape[0] * image.shape[1] >= LARGE_PIXELS
        with self._one_large if is_large else nullcontext():
            return self.detector(image)


class BatchingDetector:
    """Joins the images of threads that wait at the same time; one thread runs the network.

    Of the images that wait, those of one size after padding go through the network as one batch,
    as in a list that the detector is given.

    Attributes:
        detector: the detector.
        max_pixels: maximum number of pixels of an image.

    Args:
        max_images: maximum number of images of a list.
    """

    def __init__(self, detector: ImageDetector, max_images: int = 8):
        self.max_pixels = detector.max_pixels
        self.detector = detector
        self._max_images = max_images
        self._waiting: queue.SimpleQueue[tuple[np.ndarray, Future] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="detector", daemon=True)
        self._thread.start()

    def __call__(self, images: np.ndarray | Sequence[np.ndarray]) -> Faces | list[Faces]:
        """The faces of an image uint8 (H, W, 3), or of each of a list.

        Raises:
            what the detector raises.
        """
        is_list = isinstance(images, (list, tuple))
        futures: list[Future] = [Future() for _ in (images if is_list else [images])]
        for image, future in zip(images if is_list else [images], futures, strict=True):
            self._waiting.put((image, future))
        found = [future.result() for future in futures]
        return found if is_list else found[0]

    def close(self) -> None:
        """End the thread, after the images that wait."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first]
            while len(batch) < self._max_images and not self._waiting.empty():
                item = self._waiting.get()
                if item is None:
                    self._waiting.put(None)
                    break
                batch.append(item)
            self._detect([image for image, _ in batch], [future for _, future in batch])

    def _detect(self, images: list[np.ndarray], futures: list[Future]) -> None:
        try:
            results = self.detector(images, errors="return")
        except Exception as error:  # goes to the threads that wait
            if len(images) > 1:  # each image gets its own error, or none
                for image, future in zip(images, futures, strict=True):
                    self._detect([image], [future])
                return
            results = [error]
        for result, future in zip(results, futures, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
