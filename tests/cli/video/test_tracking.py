"""Tracks of faces: which frames are filled, and which gaps are reported."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.moving_faces import (
    NO_BOX,
    RATE,
    SIZE,
    boxes_of_frames,
    crossing_paths,
    noisy_path,
)
from srn_d2.cli.video.gap_report import describe_gaps
from srn_d2.cli.video.hidden_boxes import HiddenBoxes
from srn_d2.cli.video.motion import median_slope
from srn_d2.cli.video.tracking import FaceTracker


def moving_box(frame, start, speed, size):
    x, y = start[0] + speed[0] * frame, start[1] + speed[1] * frame
    return np.array([x, y, x + size, y + size])


def hide(frames, fill_gaps=10, neighbours=0, sizes=None):
    """Frame -> hidden boxes, in the order in which frames become ready; and the tracker."""
    hidden = HiddenBoxes(fill_gaps, neighbours)
    ready = []
    for frame, boxes in enumerate(frames):
        size = SIZE if sizes is None else sizes[frame]
        ready += hidden.push(frame, frame / RATE, boxes, size, frame)
    ready += hidden.flush()
    assert [frame.payload for frame, _ in ready] == list(range(len(frames)))
    return [boxes for _, boxes in ready], hidden.tracker


@settings(max_examples=30, deadline=None)
@given(
    found=st.lists(st.booleans(), min_size=4, max_size=40),
    start=st.tuples(st.floats(400, 700), st.floats(400, 500)),
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
        if gap.kind == "lost":
            assert (gap.first, gap.last) == (detected[-1] + 1, len(found) - 1)
            assert not gap.is_filled
            continue
        assert gap.is_filled == (gap.last - gap.first + 1 <= max_gap)
        assert not any(found[gap.first : gap.last + 1])
        assert (gap.first_time, gap.last_time) == (gap.first / 25, gap.last / 25)
    missed = set(range(detected[0], len(found))) - set(detected) if len(detected) else set()
    assert missed == {x for gap in tracker.gaps for x in range(gap.first, gap.last + 1)}


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


def test_a_long_gap_is_reported_and_after_ten_seconds_the_face_is_lost():
    box = np.array([[100.0, 100, 140, 140]])
    hidden, tracker = hide([box, *[NO_BOX] * 200, box, *[NO_BOX] * 300, box])
    assert [len(boxes) for boxes in hidden[:202]] == [1, *[0] * 200, 1]
    long, lost = tracker.gaps
    assert (long.first, long.last, long.is_filled, long.kind) == (1, 200, False, "missed")
    assert (lost.first, lost.last, lost.is_filled, lost.kind) == (202, 451, False, "lost")
    assert lost.to_dict() == {
        "kind": "lost",
        "frames": [202, 451],
        "times": [8.08, 18.04],
        "bbox_before": [100.0, 100.0, 140.0, 140.0],
        "hidden": False,
    }
    long_text, lost_text = describe_gaps(tracker.gaps)
    assert "longer than --fill-gaps, NOT hidden: look at 0:00:00.040-0:00:08.000" in long_text
    assert "1 face NOT hidden after the last time found" in lost_text
    assert "look from 0:00:08.080" in lost_text


def test_faces_far_apart_are_not_linked():
    _, tracker = hide(
        [np.array([[100.0, 100, 120, 120]]), NO_BOX, np.array([[400.0, 400, 420, 420]])]
    )
    [gap] = tracker.gaps
    assert (gap.kind, gap.first, gap.last) == ("lost", 1, 2)


def test_boxes_of_very_different_sizes_are_not_linked():
    _, tracker = hide(
        [np.array([[100.0, 100, 120, 120]]), NO_BOX, np.array([[100.0, 100, 180, 180]])]
    )
    assert [gap.kind for gap in tracker.gaps] == ["lost"]


def test_a_face_in_the_last_frame_is_not_lost():
    box = np.array([[100.0, 100, 140, 140]])
    assert hide([box] * 5)[1].gaps == []
    [gap] = hide([box] * 5 + [NO_BOX])[1].gaps
    assert (gap.kind, gap.first, gap.last, gap.last_time) == ("lost", 5, 5, 5 / RATE)
    tracker = FaceTracker(10)
    tracker.finish()
    assert tracker.gaps == []


@settings(max_examples=40, deadline=None)
@given(
    side=st.floats(20, 200),
    speed=st.floats(0.05, 0.5),
    border=st.sampled_from(["left", "right", "top", "bottom"]),
    num_still=st.integers(0, 1),
)
def test_a_face_that_leaves_at_the_border_is_not_lost_and_one_at_rest_there_is(
    side, speed, border, num_still
):
    """Boxes end at the border, as a detector's do."""
    axis, is_far = int(border in ("top", "bottom")), border in ("right", "bottom")
    length = SIZE[axis]
    frames = []
    for frame in range(40):
        step = min(frame, 11) if num_still else frame
        low = side - speed * side * step
        place = np.array([300.0, 300.0, 300.0 + side, 300.0 + side])
        place[[axis, axis + 2]] = low, low + side
        if is_far:
            place[[axis, axis + 2]] = length - place[[axis + 2, axis]]
        place[[axis, axis + 2]] = np.clip(place[[axis, axis + 2]], 0, length)
        # A box of a third of the side, MAX_RATIO, is no longer the same face's.
        is_inside = place[axis + 2] - place[axis] > 0.34 * side
        frames.append(place[None] if is_inside else NO_BOX)
    last = max(i for i, boxes in enumerate(frames) if len(boxes))
    frames = frames[: last + 1]
    still = [frames[-1]] * 12 if num_still else []
    gaps = hide(frames + still + [NO_BOX] * 5)[1].gaps
    assert [gap.kind for gap in gaps] == ["lost"] * num_still


def test_another_face_that_enters_where_one_left_ends_no_gap():
    out = [np.array([[60.0 - 6 * i, 300, 90 - 6 * i, 330]]).clip(0) for i in range(13)]
    frames = [*out, *[NO_BOX] * 30, *out[::-1], *[out[0]] * 5]
    assert hide(frames)[1].gaps == []
    [gap] = hide([*out, *[NO_BOX] * 5, *out[::-1]])[1].gaps
    assert gap.is_filled


def simulate_gap(seed, num_missed, fill_gaps=10, num_before=20, **options):
    """The gaps that are reported of a face that moves evenly, and is missed once."""
    num_frames = num_before + num_missed + 10
    _, boxes = noisy_path(np.random.default_rng(seed), num_frames, **options)
    found = np.ones((1, num_frames), dtype=bool)
    found[0, num_before : num_before + num_missed] = False
    return hide(boxes_of_frames(boxes[None], found), fill_gaps)[1].gaps


@pytest.mark.parametrize(
    ("num_missed", "num_before", "options", "minimum"),
    [
        (10, 20, {}, 0.99),
        (10, 20, {"side": 20}, 0.97),
        (10, 2, {}, 0.99),
        (14, 20, {}, 0.97),
        (25, 20, {}, 0.95),
        (25, 20, {"jitter": 4}, 0.85),
        (75, 20, {}, 0.95),
        (240, 20, {"speed": 3}, 0.95),
    ],
)
def test_gaps_of_a_noisy_moving_face_are_found_and_never_silent(
    num_missed, num_before, options, minimum
):
    """Before motions were fitted, 6, 60 and 80 % of the gaps of 10, 15 and 25 frames were lost."""
    num_right, num_runs = 0, 24
    for seed in range(num_runs):
        gaps = simulate_gap(seed, num_missed, num_before=num_before, **options)
        missed = {x for gap in gaps for x in range(gap.first, gap.last + 1)}
        assert missed >= set(range(num_before, num_before + num_missed))
        expected = [(num_before, num_before + num_missed - 1, num_missed <= 10)]
        num_right += [(gap.first, gap.last, gap.is_filled) for gap in gaps] == expected
    assert num_right >= minimum * num_runs


def test_a_gap_within_a_longer_limit_is_filled():
    for seed in range(20):
        [gap] = simulate_gap(seed, 14, fill_gaps=20)
        assert (gap.first, gap.last, gap.is_filled) == (20, 33, True)


@pytest.mark.parametrize("distance", [0, 0.5, 1])
@pytest.mark.parametrize(("first", "second"), [(10, 10), (30, 30), (8, 0), (25, 0)])
def test_faces_that_pass_each_other_are_rarely_merged(distance, first, second):
    """Frames in the middle in which each of the two is missed, as the faces hide each other."""
    num_frames, num_right, num_runs = 61, 0, 12
    for seed in range(num_runs):
        rng = np.random.default_rng(seed)
        true, noisy = crossing_paths(rng, num_frames, distance=distance)
        found = np.ones((2, num_frames), dtype=bool)
        expected = []
        for face, num_missed in enumerate((first, second)):
            start = (num_frames - num_missed) // 2
            found[face, start : start + num_missed] = False
            expected += [(start, start + num_missed - 1)] * bool(num_missed)
        hidden, tracker = hide(boxes_of_frames(noisy, found))
        is_right = [(gap.first, gap.last) for gap in tracker.gaps] == sorted(expected)
        for face, frame in zip(*np.nonzero(~found), strict=True):
            if tracker.gaps and tracker.gaps[0].is_filled:
                errors = np.abs(hidden[frame] - true[face, frame]).max(axis=1)
                is_right &= len(hidden[frame]) == 2 and errors.min() < 15
        num_right += is_right
    assert num_right >= 0.9 * num_runs


@pytest.mark.parametrize("num_missed", [4, 20])
@pytest.mark.parametrize("returns", [False, True])
def test_a_face_is_not_forgotten_for_another_one_that_is_found_near_it(num_missed, returns):
    """The one walks on unseen; the other, that walks the other way, is found from then on."""
    num_right, num_runs = 0, 12
    for seed in range(num_runs):
        _, noisy = crossing_paths(np.random.default_rng(seed), 81)
        found = np.ones((2, 81), dtype=bool)
        found[0, 38 : 70 if returns else None] = False
        found[1, : 38 + num_missed] = False
        gaps = hide(boxes_of_frames(noisy, found))[1].gaps
        last = 69 if returns else 80
        kind = "missed" if returns else "lost"
        num_right += (38, last, kind) in [(gap.first, gap.last, gap.kind) for gap in gaps]
    assert num_right >= 0.9 * num_runs


@settings(max_examples=40, deadline=None)
@given(
    found=st.lists(st.booleans(), min_size=3, max_size=20),
    sizes=st.lists(
        st.tuples(st.integers(200, 2000), st.integers(200, 2000)), min_size=20, max_size=20
    ),
    neighbours=st.integers(0, 2),
)
def test_in_frames_of_other_sizes_boxes_are_at_the_same_relative_places(found, sizes, neighbours):
    place = np.array([[0.4, 0.3, 0.5, 0.45]])
    frames, scales = [], []
    for is_found, size in zip(found, sizes, strict=False):
        scales.append(np.array([*size, *size]))
        frames.append(place * scales[-1] if is_found else NO_BOX)
    hidden, tracker = hide(frames, 5, neighbours, sizes)
    usual, usual_tracker = hide([place * 500 if x else NO_BOX for x in found], 5, neighbours)
    assert [(x.first, x.last, x.kind) for x in tracker.gaps] == [
        (x.first, x.last, x.kind) for x in usual_tracker.gaps
    ]
    for gap in tracker.gaps:  # in pixels of the frame before
        np.testing.assert_allclose(gap.box, frames[gap.first - 1][0])
    for boxes, others, scale in zip(hidden, usual, scales, strict=True):
        assert len(boxes) == len(others)
        for box in boxes:
            np.testing.assert_allclose(box / scale, place[0])


@settings(max_examples=30, deadline=None)
@given(
    slope=st.floats(-50, 50),
    num_wrong=st.integers(0, 2),
    times=st.lists(st.integers(0, 100), min_size=10, max_size=12, unique=True).map(sorted),
    data=st.data(),
)
def test_the_slope_ignores_single_wrong_points(slope, num_wrong, times, data):
    times = np.array(times)
    places = np.stack([slope * times, 3 - slope * times], axis=1).astype(float)
    for _ in range(num_wrong):
        places[data.draw(st.integers(0, len(times) - 1))] += data.draw(st.floats(-1e4, 1e4))
    np.testing.assert_allclose(median_slope(times, places), [slope, -slope], atol=1e-6)
    assert median_slope(times[:1], places[:1]).tolist() == [0, 0]
