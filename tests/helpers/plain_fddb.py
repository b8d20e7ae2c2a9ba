"""FDDB's official program, restated without windows, pruning or incremental matching."""

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
        radii, degrees = (abs(int(major)), abs(int(minor))), 180 - (math.pi - angle) * 180 / math.pi
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


def plain_official_pairs(overlaps):
    """The overlaps of the official pairs, by trying every assignment for the least loss.

    Of several that lose as little it takes the first in the order of the permutations, so that it
    is a restatement only where the pairs of least loss are unique.
    """
    u = np.asarray(overlaps, float).reshape(len(overlaps), -1)
    u = u[u.any(axis=1)][:, u.any(axis=0)]
    if not u.size:
        return []
    of_faces, of_detections = u.max(axis=1).sum(), u.max(axis=0).sum()
    faces_choose = (
        u.shape[0] <= u.shape[1] if of_faces == of_detections else of_faces < of_detections
    )
    loss = (u.max(axis=1, keepdims=True) if faces_choose else u.max(axis=0)) - u
    if u.shape[0] > u.shape[1]:
        u, loss = u.T, loss.T
    rows = np.arange(u.shape[0])
    candidates = map(list, itertools.permutations(range(u.shape[1]), u.shape[0]))
    return u[rows, min(candidates, key=lambda columns: loss[rows, columns].sum())].tolist()


def plain_curves(images, assignment=best_assignment):
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
            pairs = assignment([[row[d] for d in valid] for row in table]) if table else []
            found = sum(overlap > 0.5 for overlap in pairs)
            discrete += found
            continuous += sum(pairs)
            false_positives += len(valid) - found
        points[threshold] = (discrete / num_faces, continuous / num_faces, false_positives)
    return points


def random_boxes(rng, number):
    corners = rng.uniform(-30, 400, (number, 2))
    return np.hstack([corners, corners + rng.uniform(0.5, 150, (number, 2))])
