"""Boxes and scores on pictures: where they are drawn, and what is left alone."""

import numpy as np

from srn_d2.inference import drawing


def test_boxes_are_drawn_at_their_edges_and_the_input_is_left_alone():
    image = np.full((60, 80, 3), 128, dtype=np.uint8)
    drawn = drawing.draw_boxes(image, np.array([[20.0, 15, 60, 45]]), ["red"])
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert (image == 128).all()
    changed = (drawn != 128).any(axis=2)
    ys, xs = changed.nonzero()
    assert abs(xs.min() - 20) <= 3
    assert abs(xs.max() - 60) <= 3
    assert abs(ys.min() - 15) <= 3
    assert abs(ys.max() - 45) <= 3
    assert not changed[25:35, 30:50].any()
    red, green, blue = drawn[30, 20].astype(int)
    assert red > 150 > green
    assert blue == green


def test_scores_are_drawn_for_few_faces_only():
    image = np.full((60, 80, 3), 128, dtype=np.uint8)
    box = (30, 20, 50, 40)
    plain = drawing.draw_boxes(image, np.array([box], dtype=float), ["lime"])
    number = drawing.MAX_SCORED_FACES + 1
    one = drawing.draw_scored_boxes(image, np.array([box], dtype=float), np.array([0.9]))
    many = drawing.draw_scored_boxes(image, np.array([box] * number), np.full(number, 0.9))
    assert (one != plain).any()
    outside = np.ones((60, 80), dtype=bool)
    outside[17:44, 27:54] = False
    assert (one[outside] != 128).any(), "the score stands beside the face"
    assert (many[outside] == 128).all()


def test_no_detection_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    drawn = drawing.draw_scored_boxes(image, np.zeros((0, 4)), np.zeros(0))
    assert np.array_equal(drawn, image)


def test_boxes_beyond_the_edges_and_their_scores_are_drawn_within():
    image = np.zeros((40, 50, 3), dtype=np.uint8)
    boxes = np.array([[-9.5, -7, 200, 90], [45, 0.2, 60, 3], [3, 3, 3, 3]])
    drawn = drawing.draw_scored_boxes(image, boxes, np.array([0.9, 0.8, 0.7]))
    assert drawn.shape == image.shape
    assert drawn.any()


def test_faces_within_large_ones_stay_seen():
    image = np.zeros((60, 60, 3), dtype=np.uint8)
    boxes = np.array([[10.0, 10, 20, 20], [10, 10, 50, 50]])
    for order in ([0, 1], [1, 0]):
        colors = [["red", "blue"][index] for index in order]
        drawn = drawing.draw_boxes(image, boxes[order], colors)
        assert drawn[10, 12].tolist() == [255, 0, 0]
