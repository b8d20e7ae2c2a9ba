"""Assignment of detections to faces: the official FDDB program's, and the best one.

M faces and D detections of one image; an overlap is the intersection over union of a face and a
detection, in [0, 1].
"""

from bisect import insort

import numpy as np
from scipy.optimize import linear_sum_assignment

Pairs = list[tuple[int, int]]
"""Face and detection of each pair; no face and no detection is in two of them."""


def official_assignment(overlaps: np.ndarray) -> Pairs:
    """Pair faces and detections as the official program does, not always for the greatest sum.

    1. Faces and detections that overlap nothing are left out.
    2. The smaller side (the faces, if both have as many) chooses in the order of the file: each
       member takes the partner with which its overlap is largest, of equal ones the first that is
       free. It goes without one if all of these are taken. If every member of the smaller side
       has a partner, these are the pairs.
    3. Otherwise the larger side chooses in the same way, from the start. If that gives as many
       pairs as the smaller side has members, these are the pairs. Here faces can be lost:
       ``[[.2, 0, .9], [0, .4, .8]]`` gives .2 + .4, though .9 + .4 is possible.
    4. Otherwise it is an assignment with the greatest sum (Hungarian method).

    The rules were found from the program's outcomes on published detections (README of the
    reference data, solver_cases.json), not from its source.

    Args:
        overlaps: (M, D), the faces and detections in the order of their files.
    """
    return _all_added(overlaps).official()


def optimal_assignment(overlaps: np.ndarray) -> Pairs:
    """Pair faces and detections for the greatest sum of overlaps; no pair has an overlap of 0.

    Args:
        overlaps: (M, D).
    """
    return _all_added(overlaps).official_and_optimal()[1]


class GrowingAssignment:
    """Assignment of the detections added so far, in both modes.

    Each face's and each detection's choice is kept while detections are added, so that a
    threshold costs a pass over the choices and not one over the matrix.
    """

    def __init__(self, overlaps: np.ndarray) -> None:
        """Begin without any detection.

        Args:
            overlaps: (M, D), the faces and detections in the order of their files.
        """
        self._overlaps = overlaps
        self._columns: list[list[float]] = overlaps.T.tolist()
        # Each face's largest overlap, and the detections that have it, rising.
        self._best = [0.0] * len(overlaps)
        self._detections_of: list[list[int]] = [[] for _ in self._best]
        # The faces with the largest overlap of each detection, rising; of those that overlap any.
        self._faces_of: dict[int, list[int]] = {}
        self._added: list[int] = []  # the keys of it, rising
        self._num_faces = 0  # that overlap a detection

    def add(self, detection: int) -> bool:
        """Add a detection by its column; False if it overlaps no face, which changes nothing."""
        column = self._columns[detection]
        largest = max(column, default=0.0)
        if not largest:
            return False
        insort(self._added, detection)
        self._faces_of[detection] = [f for f, value in enumerate(column) if value == largest]
        for face, value in enumerate(column):
            if value > self._best[face]:
                self._num_faces += self._best[face] == 0
                self._best[face], self._detections_of[face] = value, [detection]
            elif value and value == self._best[face]:
                insort(self._detections_of[face], detection)
        return True

    def official(self) -> Pairs:
        """The pairs of :func:`official_assignment`."""
        return self._assign()[0]

    def official_and_optimal(self) -> tuple[Pairs, Pairs]:
        """The pairs of :func:`official_assignment` and of :func:`optimal_assignment`."""
        pairs, is_optimal = self._assign()
        return pairs, pairs if is_optimal else self._best_sum()

    def _assign(self) -> tuple[Pairs, bool]:
        """The official pairs, and whether their sum is known to be the greatest."""
        num_detections = len(self._added)
        smallest = min(self._num_faces, num_detections)
        faces_first = self._num_faces <= num_detections
        for choice in (faces_first, not faces_first):
            pairs = self._faces_choose() if choice else self._detections_choose()
            if len(pairs) == smallest:
                # Where all of a side have their largest overlap, no sum is greater.
                all_chose = choice == faces_first or self._num_faces == num_detections
                return pairs, all_chose
        return self._best_sum(), True

    def _faces_choose(self) -> Pairs:
        taken: set[int] = set()
        pairs = []
        for face, detections in enumerate(self._detections_of):
            for detection in detections:
                if detection not in taken:
                    taken.add(detection)
                    pairs.append((face, detection))
                    break
        return pairs

    def _detections_choose(self) -> Pairs:
        taken: set[int] = set()
        pairs = []
        for detection in self._added:
            for face in self._faces_of[detection]:
                if face not in taken:
                    taken.add(face)
                    pairs.append((face, detection))
                    break
        return pairs

    def _best_sum(self) -> Pairs:
        faces, columns = linear_sum_assignment(self._overlaps[:, self._added], maximize=True)
        detections = [self._added[column] for column in columns.tolist()]
        pairs = zip(faces.tolist(), detections, strict=True)
        return [(f, d) for f, d in pairs if self._columns[d][f]]


def _all_added(overlaps: np.ndarray) -> GrowingAssignment:
    assignment = GrowingAssignment(overlaps)
    for detection in range(overlaps.shape[1]):
        assignment.add(detection)
    return assignment
