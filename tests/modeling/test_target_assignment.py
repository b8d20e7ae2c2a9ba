import multiprocessing
import resource
import sys

import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes, pairwise_iou
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.modeling import target_assignment
from srn_d2.modeling.target_assignment import (
    BACKGROUND,
    FACE,
    IGNORED,
    best_overlaps,
    build_matcher,
    label_anchors,
    refine_anchors,
    stc_keep_mask,
    two_step_targets,
)

TRANSFORM = Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0))


def random_boxes(number: int, seed: int, size: float = 100.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(number, 2, generator=generator) * size
    sides = torch.rand(number, 2, generator=generator) * size / 2 + 1
    return torch.cat([corner, corner + sides], dim=1)


def none_ignored(boxes: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(boxes), dtype=torch.bool)


@given(st.integers(0, 60), st.integers(0, 9), st.integers(1, 64), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_chunks_give_what_one_matrix_gives(anchors, boxes, chunk, seed):
    anchors, boxes = random_boxes(anchors, seed), random_boxes(boxes, seed + 1)
    is_ignored = torch.rand(len(boxes), generator=torch.Generator().manual_seed(seed)) < 0.3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_assignment, "IOU_CHUNK_ELEMENTS", chunk)
        overlaps = best_overlaps(anchors, boxes, is_ignored)
    for part, iou in ((~is_ignored, overlaps.face_iou), (is_ignored, overlaps.ignored_iou)):
        if part.any():
            expected = pairwise_iou(Boxes(boxes[part]), Boxes(anchors))
            torch.testing.assert_close(iou, expected.max(dim=0).values)
        else:
            assert not iou.any()


@pytest.mark.parametrize("thresholds", [(0.3, 0.7), (0.4, 0.5), (0.5, 0.5)])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_labels_follow_the_thresholds(thresholds, seed):
    low, high = thresholds
    faces = random_boxes(5, seed + 1)
    # Some far from all faces, and some that lose 0 .. 90 % of a face's width: IoU 1 .. 0.1.
    parts = faces.repeat(10, 1)
    parts[:, 2] -= (parts[:, 2] - parts[:, 0]) * torch.arange(50) // 5 / 10
    anchors = torch.cat([random_boxes(50, seed), parts])
    overlaps = best_overlaps(anchors, faces, none_ignored(faces))
    labels, matched = label_anchors(overlaps, faces, none_ignored(faces), build_matcher(thresholds))
    iou, index = pairwise_iou(Boxes(faces), Boxes(anchors)).max(dim=0)
    expected = torch.full_like(labels, IGNORED)
    expected[iou >= high] = FACE
    expected[iou < low] = BACKGROUND
    assert torch.equal(labels, expected)
    assert set(labels.tolist()) >= {BACKGROUND, FACE}
    assert torch.equal(matched[labels == FACE], faces[index[labels == FACE]])


def test_low_quality_matches_are_not_made():
    face = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    anchors = torch.tensor([[5.0, 5.0, 15.0, 15.0]])  # the face's best anchor, IoU 1/7
    overlaps = best_overlaps(anchors, face, none_ignored(face))
    labels, _ = label_anchors(overlaps, face, none_ignored(face), build_matcher((0.3, 0.7)))
    assert labels.tolist() == [BACKGROUND]


def test_ignore_regions_are_neither_face_nor_background_and_faces_go_first():
    boxes = torch.tensor([[0.0, 0, 10, 10], [100, 100, 110, 110], [0, 0, 10, 9]])
    is_ignored = torch.tensor([False, True, True])
    anchors = torch.tensor(
        [
            [0.0, 0, 10, 10],  # on the face, and nearly on an ignore region
            [100, 100, 110, 110],  # on an ignore region
            [100, 100, 110, 105],  # IoU 0.5 with it
            [100, 100, 110, 103],  # IoU 0.3 with it: background
            [50, 50, 60, 60],  # on nothing
        ]
    )
    overlaps = best_overlaps(anchors, boxes, is_ignored)
    labels, matched = label_anchors(overlaps, boxes, is_ignored, build_matcher((0.4, 0.5)))
    assert labels.tolist() == [FACE, IGNORED, IGNORED, BACKGROUND, BACKGROUND]
    assert torch.equal(matched[0], boxes[0])


@pytest.mark.parametrize("boxes", [torch.zeros(0, 4), torch.tensor([[2.0, 2, 9, 9]])])
def test_without_faces_all_anchors_are_background_or_ignored(boxes):
    is_ignored = torch.ones(len(boxes), dtype=torch.bool)
    anchors = random_boxes(20, 3, size=10)
    overlaps = best_overlaps(anchors, boxes, is_ignored)
    labels, matched = label_anchors(overlaps, boxes, is_ignored, build_matcher((0.4, 0.5)))
    assert FACE not in labels.tolist()
    assert BACKGROUND in labels.tolist()
    assert matched.shape == (20, 4)


@pytest.mark.parametrize("thresholds", [(0.0, 0.5), (0.6, 0.5), (0.5, 1.5)])
def test_bad_thresholds_are_refused(thresholds):
    with pytest.raises(ValueError, match="IoU thresholds"):
        build_matcher(thresholds)


def test_zero_deltas_refine_to_the_same_anchors():
    levels = [random_boxes(6, 0), random_boxes(4, 1)]
    refined = refine_anchors(levels, [torch.zeros(3, 6, 4), None], TRANSFORM, 3)
    for level, per_image in zip(levels, refined, strict=True):
        torch.testing.assert_close(per_image, level.expand(3, -1, -1))


def test_each_image_gets_its_own_anchors_and_no_gradient_flows_back():
    level, targets = random_boxes(5, 0), random_boxes(10, 2).view(2, 5, 4)
    deltas = torch.stack([TRANSFORM.get_deltas(level, target) for target in targets])
    deltas.requires_grad_()
    (refined,) = refine_anchors([level], [deltas], TRANSFORM, 2)
    torch.testing.assert_close(refined, targets, atol=1e-3, rtol=1e-4)
    assert not refined.requires_grad


@pytest.mark.parametrize(
    ("threshold", "keep"),
    [
        (0.99, [False, True, True, True, True]),
        (0.97, [False, False, True, True, True]),
        (0.6, [False, False, False, True, True]),
        (0.5, [False, False, False, True, True]),  # 1 - p equals the threshold
        (0.4, [False, False, False, False, True]),
        (1.0, [True, True, True, True, True]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_stc_keeps_what_is_not_a_confident_negative(threshold, keep, dtype):
    # Odds of a face 1 : 124, 1 : 49, 1 : 9, 1 : 1 and 9 : 1, so 1 - p = 0.992, 0.98, 0.9, ...
    logits = torch.tensor([[-4.8203, -3.8918], [-2.1972, 0.0]]).flatten()
    logits = torch.cat([logits, torch.tensor([2.1972])]).to(dtype)
    assert stc_keep_mask(logits, threshold).tolist() == keep


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=20), st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None)
def test_a_higher_theta_keeps_all_that_a_lower_one_keeps_and_better_scores_stay(logits, low, high):
    logits = torch.tensor(logits).sort().values
    fewer, more = (stc_keep_mask(logits, theta) for theta in sorted((low, high)))
    assert not (fewer & ~more).any()
    for keep in (fewer, more):  # from some score on
        assert keep.tolist() == sorted(keep.tolist())
    assert stc_keep_mask(logits, 1.0).all()


def targets_of(gt, ignore, anchors, refined, is_refined, refined_thresholds=(0.4, 0.5)):
    thresholds = (0.3, 0.7), (0.4, 0.5), refined_thresholds
    matchers = [build_matcher(x) for x in thresholds]
    return two_step_targets(anchors, refined, is_refined, gt, ignore, matchers)[:2]


def test_second_step_matches_refined_anchors_on_str_levels_only():
    face = torch.tensor([[0.0, 0, 10, 10]])
    anchors = torch.tensor([[20.0, 20, 30, 30], [20, 20, 30, 30]])
    is_refined = torch.tensor([False, True])
    refined = torch.stack([torch.cat([anchors[:1], face]), anchors])  # image 0 moves onto the face
    step1, step2 = targets_of([face, face], [none_ignored(face)] * 2, anchors, refined, is_refined)
    assert (step1.labels == BACKGROUND).all()
    assert step2.labels.tolist() == [[BACKGROUND, FACE], [BACKGROUND, BACKGROUND]]
    assert torch.equal(step2.anchors, refined)
    assert torch.equal(step1.anchors[0], anchors)
    assert step2.count(FACE) == 1
    assert step2.select(is_refined).labels.tolist() == [[FACE], [BACKGROUND]]


def test_refined_anchors_have_thresholds_of_their_own():
    face = torch.tensor([[0.0, 0, 10, 10]])
    anchors = torch.tensor([[0.0, 0, 10, 6]]).repeat(2, 1)  # IoU 0.6
    is_refined = torch.tensor([False, True])
    for refined_thresholds, label in (
        ((0.4, 0.5), FACE),
        ((0.5, 0.7), IGNORED),
        ((0.7, 0.8), BACKGROUND),
    ):
        step1, step2 = targets_of(
            *([face], [none_ignored(face)], anchors, anchors[None], is_refined, refined_thresholds)
        )
        assert step1.labels.tolist() == [[IGNORED, IGNORED]]
        assert step2.labels.tolist() == [[FACE, label]]


@given(st.integers(0, 10**6), st.integers(0, 6))
@settings(max_examples=20, deadline=None)
def test_without_refinement_the_second_step_is_plain_matching(seed, faces):
    anchors, boxes = random_boxes(40, seed), random_boxes(faces, seed + 1)
    _, step2 = targets_of(
        [boxes], [none_ignored(boxes)], anchors, anchors[None], torch.zeros(40, dtype=torch.bool)
    )
    overlaps = best_overlaps(anchors, boxes, none_ignored(boxes))
    labels, _ = label_anchors(overlaps, boxes, none_ignored(boxes), build_matcher((0.4, 0.5)))
    assert torch.equal(step2.labels[0], labels)


def memory_of_matching(results):
    """Peak memory in bytes, of this whole process, after matching few faces and after many."""
    torch.set_num_threads(1)
    unit = 1024 if sys.platform.startswith("linux") else 1
    anchors = random_boxes(50_000, 0, size=500.0)
    for faces in (10, 100, 2000):
        boxes = random_boxes(faces, 1, size=500.0)
        best_overlaps(anchors, boxes, none_ignored(boxes))
        results.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def test_memory_of_matching_does_not_grow_with_the_number_of_faces():
    # One matrix of 50,000 anchors x 2,000 faces takes 400 MB, its calculation 1.6 GB.
    context = multiprocessing.get_context("fork")  # it need not import torch again
    results = context.Queue()
    process = context.Process(target=memory_of_matching, args=(results,), daemon=True)
    process.start()
    _, few, many = (results.get(timeout=60) for _ in range(3))
    process.join(timeout=60)
    assert process.exitcode == 0
    assert many - few < 150e6
