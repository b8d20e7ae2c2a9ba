"""Tiles of large images: no face is cut off where its tile counts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srn_d2.inference.tiles import MAX_TILE_PIXELS, TILE_ALIGNMENT, cut, grid, padded_pixels


@given(
    st.integers(1, 20_000),
    st.one_of(st.none(), st.floats(1, 3000)),
    st.integers(2, 16),
    st.floats(0, 1),
)
def test_a_face_is_whole_in_a_tile_to_which_its_centre_belongs(side, max_face, parts, place):
    spans = cut(side, max_face, parts)
    assert spans[0].start == 0
    assert spans[-1].stop == side
    assert len(spans) <= parts
    if len(spans) == 1:
        assert side < 2 * parts * TILE_ALIGNMENT
        return
    for first, second in itertools.pairwise(spans):
        assert second.start % TILE_ALIGNMENT == 0
        assert first.start < second.start <= first.stop < second.stop
    largest = side // 2 / 2 if max_face is None else min(int(2 * max_face) / 2, side // 2 / 2)
    start = place * (side - largest)  # of a face of the largest size, anywhere
    stop, centre = start + largest, start + largest / 2
    owners = [span for span in spans if span.owned_from <= centre < span.owned_to]
    assert owners
    for span in owners:
        assert span.start + largest / 4 <= start or span.start == 0
        assert stop <= span.stop - largest / 4 or span.stop == side


@given(st.integers(512, 5000), st.integers(2, 16), st.floats(0, 1))
def test_the_part_of_a_face_that_a_tile_cuts_off_does_not_count(side, parts, place):
    """Of a face of up to half the overlap that reaches beyond the first tile."""
    for first, second in itertools.pairwise(cut(side, None, parts)):
        face = (first.stop - second.start) / 2
        start = first.stop - face + place * face  # it goes beyond the tile: only a part is seen
        assert (start + first.stop) / 2 >= first.owned_to


def longest(spans):
    return max(span.stop - span.start for span in spans)


def total(spans):
    return sum(span.stop - span.start for span in spans)


@given(st.integers(1, 30_000), st.integers(1, 30_000), st.one_of(st.none(), st.floats(1, 3000)))
def test_a_grid_has_tiles_of_at_most_so_many_pixels(height, width, max_face):
    """In images of up to 900 megapixels no tile has to be cut again; nor are there too many."""
    rows, columns = grid(height, width, max_face, MAX_TILE_PIXELS)
    assert padded_pixels(longest(rows), longest(columns)) <= MAX_TILE_PIXELS
    assert (len(rows) == len(columns) == 1) == (padded_pixels(height, width) <= MAX_TILE_PIXELS)
    assert total(rows) * total(columns) <= 4 * height * width


def test_images_too_large_for_a_grid_are_halved():
    rows, columns = grid(200_000, 200_000, 572, MAX_TILE_PIXELS)
    assert (rows, columns) == (cut(200_000, 572), cut(200_000, 572))


@pytest.mark.parametrize(
    ("height", "width", "tiles", "cost"),  # pixels of all tiles by those of the image
    [
        (4096, 4096, (1, 1), 1.0),
        (4000, 6000, (1, 2), 1.2),  # 24 megapixels
        (6144, 8192, (2, 3), 1.6),
        (10_000, 10_000, (3, 4), 1.7),
        (1000, 100_000, (1, 7), 1.1),
    ],
)
def test_what_large_photographs_are_cut_into(height, width, tiles, cost):
    rows, columns = grid(height, width, 572, MAX_TILE_PIXELS)  # largest face of "lite"
    assert (len(rows), len(columns)) == tiles
    assert total(rows) * total(columns) / height / width == pytest.approx(cost, abs=0.1)
