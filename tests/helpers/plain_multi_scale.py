"""The released multi-scale test, restated in plain numpy.

It shares no code with ``srn_d2``: the tests compare the two. A detector here is a function from
an image (H, W, 3), uint8, to detections (n, 5): x1, y1, x2, y2, score.
"""

import math

import cv2
import numpy as np


def detect_in_views(detector, image, max_size):
    """The detections of every view that count, in pixels of the image: (n, 5)."""
    height, width = image.shape[:2]
    largest = max_size * max_size
    if height * width < largest:
        found = [
            detector(image),
            mirrored_back(detector(image[:, ::-1].copy()), width),
            large_only(shrunk_back(detector(scaled(image, 0.5)), 0.5)),
        ]
        factor = 1.5
        while factor**2 * height * width <= largest:
            found.append(small_only(shrunk_back(detector(scaled(image, factor)), factor)))
            factor *= 1.5
        factor = math.sqrt(largest / (height * width))
        found.append(small_only(shrunk_back(detector(scaled(image, factor)), factor)))
    else:
        factor = math.sqrt(largest / (height * width))
        image = scaled(image, factor)
        mirrored = mirrored_back(detector(image[:, ::-1].copy()), image.shape[1])
        found = [shrunk_back(detector(image), factor), shrunk_back(mirrored, factor)]
        for share in (0.75, 0.5):  # of the reduced image, reduced once more
            smaller = detector(scaled(image, share))
            found.append(large_only(shrunk_back(smaller, factor * share)))
    return np.concatenate(found)


def scaled(image, factor):
    return cv2.resize(image, None, fx=factor, fy=factor)


def shrunk_back(found, factor):
    return np.column_stack([(found[:, :4] - (factor - 1) / 2) / factor, found[:, 4]])


def mirrored_back(found, width):
    x1, y1, x2, y2, score = found.T
    return np.column_stack([width - x2 - 1, y1, width - x1 - 1, y2, score])


def large_only(found):
    """Larger side above 30 pixels."""
    return found[np.maximum(found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]) + 1 > 30]


def small_only(found):
    """Smaller side below 100 pixels."""
    return found[np.minimum(found[:, 2] - found[:, 0], found[:, 3] - found[:, 1]) + 1 < 100]


def vote(found, size, *, iou=0.5, keep_single=False, pixel=1, keep=750):
    """Box voting and clipping to an image of (height, width): (n, 5), best first."""
    found = found[np.argsort(-found[:, 4], kind="stable")]
    voted = []
    while len(found):
        x1, y1, x2, y2, _ = found.T
        areas = (x2 - x1 + pixel) * (y2 - y1 + pixel)
        w = (np.minimum(x2, x2[0]) - np.maximum(x1, x1[0]) + pixel).clip(0)
        h = (np.minimum(y2, y2[0]) - np.maximum(y1, y1[0]) + pixel).clip(0)
        together = w * h / (areas + areas[0] - w * h) >= iou
        group, found = found[together], found[~together]
        if len(group) > 1 or keep_single:
            mean = (group[:, :4] * group[:, 4:]).sum(axis=0) / group[:, 4].sum()
            voted.append([*mean, group[:, 4].max()])
    voted = np.array(voted).reshape(-1, 5)[:keep]
    height, width = size
    voted[:, 0:4:2] = voted[:, 0:4:2].clip(0, width - 1)
    voted[:, 1:4:2] = voted[:, 1:4:2].clip(0, height - 1)
    return voted[voted[:, 4] != 0]
