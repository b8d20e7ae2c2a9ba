"""FDDB's official code, restated without windows, pruning or incremental matching."""

import itertools
import math

import cv2
import numpy as np


def official_mask(region, size):
    """EllipseR::display and RectangleR::display on a mask of the whole image."""
    mask = np.zeros(size, np.uint8)
    point = lambda x, y: (round(float(np.float32(x))), round(float(np.float32(y))))  # noqa: E731
    if len(region) == 4:
        cv2.rectangle(mask, point(*region[:2]), point(*region[2:]), 1, cv2.FILLED)
    else:
        major, minor, angle, x, y = map(float, region)
        radii, degrees = (int(major), int(minor)), angle * 180 / math.pi
        cv2.ellipse(mask, point(x, y), radii, degrees, 0, 360, 1, cv2.FILLED)
    return mask


def official_overlap(face, detection, size):
    masks = official_mask(face, size), official_mask(detection, size)
    union = cv2.countNonZero(cv2.bitwise_or(*masks))
    return cv2.countNonZero(cv2.bitwise_and(*masks)) / union if union else 0.0


def best_assignment(overlaps):
    """The overlaps of the pairs with the greatest sum, by trying every permutation."""
    overlaps = np.asarray(overlaps)
    if overlaps.shape[0] > overlaps.shape[1]:
        overlaps = overlaps.T
    rows = np.arange(overlaps.shape[0])
    candidates = itertools.permutations(range(overlaps.shape[1]), overlaps.shape[0])
    return max((overlaps[rows, list(columns)].tolist() for columns in candidates), key=sum)


def official_curves(images):
    """{threshold: (discrete rate, continuous rate, false positives)}."""
    tables = [
        [[official_overlap(f, d, i.size) for d in i.regions] for f in i.faces] for i in images
    ]
    num_faces = sum(len(image.faces) for image in images)
    points = {}
    for threshold in {score for image in images for score in image.scores}:
        discrete = continuous = false_positives = 0
        for image, table in zip(images, tables, strict=True):
            valid = [d for d, score in enumerate(image.scores) if score >= threshold]
            pairs = best_assignment([[row[d] for d in valid] for row in table]) if table else []
            found = sum(overlap > 0.5 for overlap in pairs)
            discrete += found
            continuous += sum(pairs)
            false_positives += len(valid) - found
        points[threshold] = (discrete / num_faces, continuous / num_faces, false_positives)
    return points


def random_boxes(rng, number):
    corners = rng.uniform(-30, 400, (number, 2))
    return np.hstack([corners, corners + rng.uniform(0.5, 150, (number, 2))])
