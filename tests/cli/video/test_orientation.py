"""Display matrices: each stored pixel is shown where its matrix puts it."""

import itertools
import struct

import numpy as np
import pytest

from srn_d2.cli.video.orientation import UPRIGHT, Orientation, read_display_matrix

ONE = 1 << 16


def matrix(a, b, c, d):
    return struct.pack("=9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)


SIGNS = list(itertools.product((1, -1), repeat=2))
STRAIGHT = [(a, 0, 0, d) for a, d in SIGNS]
CROSSED = [(0, b, c, 0) for b, c in SIGNS]


@pytest.mark.parametrize(("a", "b", "c", "d"), [*STRAIGHT, *CROSSED])
def test_pixels_go_where_the_matrix_says(a, b, c, d):
    stored = np.arange(3 * 5).reshape(3, 5)
    shown = read_display_matrix(matrix(a * ONE, b * ONE, c * ONE, d * ONE)).apply(stored)
    places = {}
    for (y, x), value in np.ndenumerate(stored):
        places[value] = (b * x + d * y, a * x + c * y)  # row, column, from any origin
    top, left = (min(place[i] for place in places.values()) for i in (0, 1))
    assert shown.size == stored.size
    for value, (row, column) in places.items():
        assert shown[row - top, column - left] == value


def test_small_errors_are_rounded_and_other_turns_are_none():
    assert read_display_matrix(matrix(ONE - 3, 5, -7, ONE)) == UPRIGHT
    assert read_display_matrix(matrix(3, ONE, -ONE, -2)) == Orientation(True, True, False)
    assert read_display_matrix(matrix(46341, 46341, -46341, 46341)) is None  # 45 degrees
    assert read_display_matrix(matrix(0, 0, 0, 0)) in (None, UPRIGHT)


def test_colours_move_with_their_pixels():
    image = np.zeros((2, 3, 3), np.uint8)
    image[0, 0] = (1, 2, 3)
    turned = Orientation(True, True, False).apply(image)
    assert turned.shape == (3, 2, 3)
    assert turned[0, 1].tolist() == [1, 2, 3]
