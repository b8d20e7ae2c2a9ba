"""Assignment of detections to faces: the official FDDB program's, and the best one.

M faces and D detections of one image; an overlap is the intersection over union of a face and a
detection, in [0, 1].
"""

import math
from bisect import insort

import numpy as np
from scipy.optimize import linear_sum_assignment

Pairs = list[tuple[int, int]]
"""Face and detection of each pair; no face and no detection is in two of them."""


def official_assignment(overlaps: np.ndarray) -> Pairs:
    """Pair faces and detections as the official program does, not always for the greatest sum.

    1. Faces and detections that overlap nothing are left out.
    2. One side chooses: that whose members' largest overlaps have the smaller sum (the side with
       fewer members, if the sums are equal). In the order of the file, each member takes the
       partner with which its overlap is largest, of equal ones the first that is free, and goes
       without one if all of these are taken.
    3. If that makes as many pairs as there are members of the side with fewer, these are the pairs.
    4. Otherwise it is the assignment with so many pairs in which the members of the side that
       chooses lose least in all, compared with their largest overlaps (Hungarian method).

    A member without a partner loses nothing. So the sum is the greatest one if the side with fewer
    members chooses, since all of them have partners, and need not be if the other one does:
    ``[[.2, 0, .9], [0, .4, .8]]`` gives .2 + .4, though .9 + .4 is possible. In other words, the
    method starts from the tighter of two upper bounds of the sum, though with the other side's it
    ends at the optimum only for matrices that are square.

    The rules were found from the program's outcomes on published and made-up detections
    (tests/evaluation/fddb/test_official_curves.py), not from its source.

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
        self._largest: list[float] = []  # the largest overlaps of these detections, in any order
        self._num_faces = 0  # that overlap a detection

    def add(self, detection: int) -> bool:
        """Add a detection by its column; False if it overlaps no face, which changes nothing."""
        column = self._columns[detection]
        largest = max(column, default=0.0)
        if not largest:
            return False
        insort(self._added, detection)
        self._largest.append(largest)
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
        return pairs, pairs if is_optimal else self._greatest_sum()

    def _assign(self) -> tuple[Pairs, bool]:
        """The official pairs, and whether their sum is known to be the greatest."""
        num_detections = len(self._added)
        faces_sum, detections_sum = math.fsum(self._best), math.fsum(self._largest)
        if faces_sum == detections_sum:
            faces_choose = self._num_faces <= num_detections
        else:
            faces_choose = faces_sum < detections_sum
        fewer = min(self._num_faces, num_detections)
        pairs = self._faces_choose() if faces_choose else self._detections_choose()
        if len(pairs) < fewer:
            pairs = self._least_loss(faces_choose)
        return pairs, fewer == (self._num_faces if faces_choose else num_detections)

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

    def _least_loss(self, of_faces: bool) -> Pairs:
        """The pairs in which faces, or detections, lose least against their largest overlaps."""
        faces = [face for face, best in enumerate(self._best) if best]
        overlaps = self._overlaps[np.ix_(faces, self._added)]
        return self._solve(overlaps - overlaps.max(axis=1 if of_faces else 0, keepdims=True), faces)

    def _greatest_sum(self) -> Pairs:
        return self._solve(self._overlaps[:, self._added], list(range(len(self._best))))

    def _solve(self, gain: np.ndarray, faces: list[int]) -> Pairs:
        """The pairs with the greatest sum of ``gain`` among the faces and detections of it."""
        rows, columns = linear_sum_assignment(gain, maximize=True)
        pairs = [
            (faces[row], self._added[column])
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        ]
        return [(face, detection) for face, detection in pairs if self._columns[detection][face]]


def _all_added(overlaps: np.ndarray) -> GrowingAssignment:
    assignment = GrowingAssignment(overlaps)
    for detection in range(overlaps.shape[1]):
        assignment.add(detection)
    return assignment
