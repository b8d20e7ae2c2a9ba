"""Hidden faces: nothing of them is left, nothing else changes."""

import numpy as np
import pytest

from srn_d2.cli.anonymize import CELLS, MARGIN, blur, pixelate

BOX = [20.0, 30, 80, 102]  # with the margin: 14 .. 86, 22 .. 110
REGION = np.s_[22:110, 14:86]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (120, 100, 3), dtype=np.uint8)


def test_the_margin_is_the_one_that_the_tests_know():
    assert MARGIN == 0.1


@pytest.mark.parametrize("hide", [blur, pixelate])
def test_only_the_faces_change(image, hide):
    original = image.copy()
    hidden = hide(image, np.array([BOX]))
    np.testing.assert_array_equal(image, original)
    outside = np.ones(image.shape[:2], dtype=bool)
    outside[REGION] = False
    np.testing.assert_array_equal(hidden[outside], image[outside])
    assert (hidden[REGION] != image[REGION]).mean() > 0.9


def test_pixelated_faces_have_few_colours(image):
    face = pixelate(image, np.array([BOX]))[REGION]
    colours = np.unique(face.reshape(-1, 3), axis=0)
    assert 2 < len(colours) <= CELLS**2


@pytest.mark.parametrize("hide", [blur, pixelate])
def test_details_are_gone_whatever_they_were(image, hide):
    """Pictures that differ inside cells only, with the same means, look the same."""
    board = np.indices((120, 100)).sum(axis=0) % 2
    first = np.where(board[..., None], 200, 50).repeat(3, axis=2).astype(np.uint8)
    second = np.where(board[..., None], 50, 200).repeat(3, axis=2).astype(np.uint8)
    boxes = np.array([BOX])
    difference = hide(first, boxes)[REGION].astype(int) - hide(second, boxes)[REGION]
    assert np.abs(difference).max() <= 15


def test_a_blurred_face_has_no_edges_and_keeps_its_colour(image):
    image[REGION] = 0
    image[22:66, 14:86] = 255
    face = blur(image, np.array([BOX]))[REGION].astype(int)
    assert np.abs(np.diff(face, axis=0)).max() < 30
    assert face.mean() == pytest.approx(127.5, abs=5)


@pytest.mark.parametrize("hide", [blur, pixelate])
@pytest.mark.parametrize(
    ("box", "region"),
    [
        ([-50, -50, 500, 500], np.s_[:, :]),
        ([90, 110, 130, 150], np.s_[106:, 86:]),
        ([10, 10, 10.5, 10.5], np.s_[9:12, 9:12]),
        ([200, 200, 300, 300], np.s_[:0, :0]),
    ],
)
def test_boxes_at_edges_and_of_any_size(image, hide, box, region):
    hidden = hide(image, np.array([box], dtype=np.float32))
    assert hidden.shape == image.shape
    assert hidden.dtype == np.uint8
    outside = np.ones(image.shape[:2], dtype=bool)
    outside[region] = False
    np.testing.assert_array_equal(hidden[outside], image[outside])
    if image[region].shape[0] > 3:
        assert (hidden[region] != image[region]).mean() > 0.9


@pytest.mark.parametrize("hide", [blur, pixelate])
def test_no_faces(image, hide):
    np.testing.assert_array_equal(hide(image, np.zeros((0, 4))), image)
