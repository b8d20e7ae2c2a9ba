"""Assignment of detections to faces: the official FDDB program's, and the best one.

M faces and D detections of one image; an overlap is the intersection over union of a face and a
detection, in [0, 1].
"""

import math
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from .small_assignment import least_cost_assignment

Pairs = list[tuple[int, int]]
"""Face and detection of each pair; no face and no detection is in two of them."""

# With more faces and detections than this, scipy is sooner ready, its import included.
_MAX_SMALL = 40

Column = Sequence[tuple[int, float]]
"""The overlaps above 0 of one detection: faces, rising, and values."""


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
    return _all_added(overlaps).official_and_optimal()[0]


def optimal_assignment(overlaps: np.ndarray) -> Pairs:
    """Pair faces and detections for the greatest sum of overlaps; no pair has an overlap of 0.

    Args:
        overlaps: (M, D).
    """
    return _all_added(overlaps).official_and_optimal()[1]


def columns_of(overlaps: np.ndarray) -> dict[int, Column]:
    """The columns of a matrix (M, D) that are not all zeros, by detection."""
    columns: dict[int, list[tuple[int, float]]] = {}
    for detection, face in zip(*map(np.ndarray.tolist, np.nonzero(overlaps.T)), strict=True):
        columns.setdefault(detection, []).append((face, float(overlaps[face, detection])))
    return columns


class GrowingAssignment:
    """Assignment of the detections added so far, in both modes.

    Each face's and each detection's choice is kept while detections are added, so that a
    threshold costs a pass over the choices at most. As long as all faces have chosen different
    detections, not even that: these are the pairs of both modes, since no sum can be greater and
    since it is the faces then that choose.
    """

    def __init__(self, columns: Mapping[int, Column], num_faces: int) -> None:
        """Begin without any detection.

        Args:
            columns: of the detections that may be added; without those that overlap no face.
            num_faces: M.
        """
        self._columns = columns
        # Each face's largest overlap, and the detections that have it, rising.
        self._best = [0.0] * num_faces
        self._detections_of: list[list[int]] = [[] for _ in self._best]
        self._num_choosing: dict[int, int] = {}  # faces whose first choice a detection is
        self._num_without = 0  # faces whose first choice another face has too
        # The faces with the largest overlap of each detection, rising.
        self._faces_of: dict[int, list[int]] = {}
        self._added: list[int] = []  # the keys of it, rising
        self._waiting: list[int] = []  # added, but not there yet: mostly nothing asks for it
        self._largest: list[float] = []  # the largest overlaps of these detections, in any order

    def add(self, detection: int) -> bool:
        """Add a detection of ``columns``; False if this changes no pair."""
        self._waiting.append(detection)
        has_changed = self._num_without > 0
        for face, overlap in self._columns[detection]:
            if overlap >= self._best[face]:
                self._choose(face, detection, overlap)
                has_changed = True
        return has_changed

    def overlaps(self) -> tuple[list[float], list[float]]:
        """The overlaps of the official and of the optimal pairs, in the order of the pairs.

        Faces without a pair may be among them, with a 0.
        """
        if not self._num_without:
            return self._best, self._best
        official, optimal = self.official_and_optimal()
        values = self._values(official)
        return values, values if optimal is official else self._values(optimal)

    def official_and_optimal(self) -> tuple[Pairs, Pairs]:
        """The pairs of :func:`official_assignment` and of :func:`optimal_assignment`."""
        self._let_detections_choose()
        num_faces, num_detections = sum(map(bool, self._best)), len(self._added)
        faces_sum, detections_sum = math.fsum(self._best), math.fsum(self._largest)
        if faces_sum == detections_sum:
            faces_choose = num_faces <= num_detections
        else:
            faces_choose = faces_sum < detections_sum
        if faces_choose:
            pairs = _first_free(enumerate(self._detections_of))
        else:
            choices = ((detection, self._faces_of[detection]) for detection in self._added)
            pairs = [(face, detection) for detection, face in _first_free(choices)]
        fewer = min(num_faces, num_detections)
        if len(pairs) < fewer:
            pairs = self._least_loss(faces_choose)
        is_optimal = fewer == (num_faces if faces_choose else num_detections)
        return pairs, pairs if is_optimal else self._greatest_sum()

    def _let_detections_choose(self) -> None:
        for detection in self._waiting:
            column = self._columns[detection]
            largest = max(overlap for _, overlap in column)
            self._largest.append(largest)
            self._faces_of[detection] = [face for face, overlap in column if overlap == largest]
            insort(self._added, detection)
        self._waiting = []

    def _choose(self, face: int, detection: int, overlap: float) -> None:
        """Note a face's choice: its largest overlap so far, or one that is as large."""
        chosen = self._detections_of[face]
        first = chosen[0] if chosen else -1
        if overlap > self._best[face]:
            self._best[face] = overlap
            chosen[:] = [detection]
        else:
            insort(chosen, detection)
        if chosen[0] == first:
            return
        if first >= 0:
            self._num_choosing[first] -= 1
            self._num_without -= self._num_choosing[first] > 0
        num_choosing = self._num_choosing.get(chosen[0], 0)
        self._num_choosing[chosen[0]] = num_choosing + 1
        self._num_without += num_choosing > 0

    def _least_loss(self, of_faces: bool) -> Pairs:
        """The pairs in which faces, or detections, lose least against their largest overlaps."""
        faces = [face for face, best in enumerate(self._best) if best]
        overlaps = self._matrix[np.ix_(faces, self._added)]
        return self._solve(overlaps - overlaps.max(axis=1 if of_faces else 0, keepdims=True), faces)

    def _greatest_sum(self) -> Pairs:
        return self._solve(self._matrix[:, self._added], list(range(len(self._best))))

    def _solve(self, gain: np.ndarray, faces: list[int]) -> Pairs:
        """The pairs with the greatest sum of ``gain`` among the faces and detections of it."""
        pairs = [(faces[row], self._added[column]) for row, column in _greatest_gain(gain)]
        return [(face, detection) for face, detection in pairs if self._matrix[face, detection]]

    @cached_property
    def _matrix(self) -> np.ndarray:
        """The overlaps of all faces with all detections up to the last one of ``columns``."""
        matrix = np.zeros((len(self._best), max(self._columns) + 1))
        for detection, column in self._columns.items():
            for face, overlap in column:
                matrix[face, detection] = overlap
        return matrix

    def _values(self, pairs: Pairs) -> list[float]:
        return [
            next(overlap for other, overlap in self._columns[detection] if other == face)
            for face, detection in pairs
        ]


def _all_added(overlaps: np.ndarray) -> GrowingAssignment:
    columns = columns_of(overlaps)
    assignment = GrowingAssignment(columns, len(overlaps))
    for detection in columns:
        assignment.add(detection)
    return assignment


def _first_free(choices: Iterable[tuple[int, list[int]]]) -> Pairs:
    """Member and partner: for each in turn the first of its choices that is free, if there is."""
    taken: set[int] = set()
    pairs = []
    for member, partners in choices:
        for partner in partners:
            if partner not in taken:
                taken.add(partner)
                pairs.append((member, partner))
                break
    return pairs


def _greatest_gain(gain: np.ndarray) -> Pairs:
    """Row and column of each pair, by row."""
    if min(gain.shape) > _MAX_SMALL:
        from scipy.optimize import linear_sum_assignment  # slow to import, hence not above

        return list(zip(*map(np.ndarray.tolist, linear_sum_assignment(gain, True)), strict=True))
    if len(gain) <= gain.shape[1]:
        return list(enumerate(least_cost_assignment((-gain).tolist())))
    return sorted((row, k) for k, row in enumerate(least_cost_assignment((-gain).T.tolist())))
