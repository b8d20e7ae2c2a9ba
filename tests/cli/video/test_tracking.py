"""Tracks of faces: which frames are filled, and which gaps are reported."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.cli.video.hidden_boxes import HiddenBoxes
from srn_d2.cli.video.tracking import FaceTracker, box_ious

NO_BOX = np.zeros((0, 4))


def moving_box(frame, start, speed, size):
    x, y = start[0] + speed[0] * frame, start[1] + speed[1] * frame
    return np.array([x, y, x + size, y + size])


def hide(boxes_of_frames, fill_gaps=10, neighbours=0):
    """Frame -> hidden boxes, in the order in which frames become ready; and the tracker."""
    hidden = HiddenBoxes(fill_gaps, neighbours)
    ready = []
    for frame, boxes in enumerate(boxes_of_frames):
        ready += hidden.push(frame, frame / 25, boxes, frame)
    ready += hidden.flush()
    assert [frame.payload for frame, _ in ready] == list(range(len(boxes_of_frames)))
    return [boxes for _, boxes in ready], hidden.tracker


@settings(max_examples=60, deadline=None)
@given(
    found=st.lists(st.booleans(), min_size=4, max_size=40),
    start=st.tuples(st.floats(0, 300), st.floats(0, 300)),
    speed=st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
    size=st.floats(24, 200),
    max_gap=st.integers(0, 10),
)
def test_a_face_that_moves_evenly_is_hidden_in_each_short_gap(found, start, speed, size, max_gap):
    truth = [moving_box(frame, start, speed, size) for frame in range(len(found))]
    frames = [box[None] if is_found else NO_BOX for box, is_found in zip(truth, found, strict=True)]
    hidden, tracker = hide(frames, max_gap)
    detected = np.flatnonzero(found)
    filled = set(detected.tolist())
    for before, after in itertools.pairwise(detected):
        if after - before - 1 <= max_gap:
            filled.update(range(before, after))
    for frame, boxes in enumerate(hidden):
        assert len(boxes) == (frame in filled)
        if len(boxes):
            assert np.abs(boxes[0] - truth[frame]).max() < 1e-6
    for gap in tracker.gaps:
        assert gap.is_filled == (gap.last - gap.first + 1 <= max_gap)
        assert not any(found[gap.first : gap.last + 1])
        assert (gap.first_time, gap.last_time) == (gap.first / 25, gap.last / 25)


@settings(max_examples=40, deadline=None)
@given(
    present=st.lists(st.booleans(), min_size=1, max_size=25),
    neighbours=st.integers(0, 4),
    max_gap=st.integers(0, 4),
)
def test_neighbours_are_hidden_too_and_frames_stay_in_order(present, neighbours, max_gap):
    box = np.array([[10.0, 10, 50, 50]])
    hidden, _ = hide([box if x else NO_BOX for x in present], max_gap, neighbours)
    alone, _ = hide([box if x else NO_BOX for x in present], max_gap)
    for frame, boxes in enumerate(hidden):
        near = alone[max(frame - neighbours, 0) : frame + neighbours + 1]
        assert len(boxes) == sum(map(len, near))


def test_the_frame_of_the_issue():
    """Found in frames 1 to 5 and 7 to 12: hidden in frame 6."""
    frames = [moving_box(i, (0, 0), (9, 3), 40)[None] if i != 6 else NO_BOX for i in range(1, 13)]
    hidden, tracker = hide(frames)
    assert all(len(boxes) == 1 for boxes in hidden)
    [gap] = tracker.gaps
    assert (gap.first, gap.last, gap.is_filled) == (5, 5, True)
    assert gap.to_dict()["frames"] == [5, 5]


def test_two_faces_that_cross_keep_their_own_tracks():
    def boxes(frame):
        return np.stack(
            [
                moving_box(frame, (0, 0), (10, 0), 40),
                moving_box(frame, (200, 45), (-10, 0), 40),
            ]
        )

    frames = [boxes(i) if i not in (9, 10) else NO_BOX for i in range(20)]
    hidden, tracker = hide(frames)
    assert len(tracker.gaps) == 2
    for frame in (9, 10):
        order = np.argsort(hidden[frame][:, 1])
        np.testing.assert_allclose(hidden[frame][order], boxes(frame), atol=1e-6)


def test_a_long_gap_is_reported_and_not_hidden_and_a_longer_one_is_another_face():
    box = np.array([[10.0, 10, 50, 50]])
    hidden, tracker = hide([box, *[NO_BOX] * 30, box, *[NO_BOX] * 100, box])
    assert [len(boxes) for boxes in hidden[:32]] == [1, *[0] * 30, 1]
    [gap] = tracker.gaps
    assert (gap.first, gap.last, gap.is_filled) == (1, 30, False)


def test_faces_far_apart_are_not_linked():
    tracker = FaceTracker(10)
    tracker.update(0, 0.0, np.array([[0.0, 0, 20, 20]]))
    tracker.update(1, 0.04, NO_BOX)
    assert tracker.update(2, 0.08, np.array([[300.0, 300, 320, 320]])) == {}
    assert tracker.gaps == []


def test_ious():
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 20, 20]])
    ious = box_ious(boxes, boxes)
    np.testing.assert_allclose(ious, [[1, 1 / 3, 0], [1 / 3, 1, 0], [0, 0, 0]])
