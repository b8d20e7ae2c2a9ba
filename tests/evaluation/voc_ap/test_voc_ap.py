"""AP of AFW and PASCAL face: by hand, and against plain restatements of VOC and the toolbox."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.config import add_srn_config
from srn_d2.data.datasets.common import register_face_dataset
from srn_d2.engine import leave_process_group
from srn_d2.evaluation import build_evaluator
from srn_d2.evaluation.voc_ap.ap import (
    ApImage,
    box_overlaps,
    evaluate_ap,
    evaluate_toolbox_ap,
    match_faces,
)
from srn_d2.evaluation.voc_ap.evaluator import VocApEvaluator


def image(faces, boxes, scores, ignored=None):
    return ApImage(
        np.array(faces, float).reshape(-1, 4),
        np.zeros(len(faces), bool) if ignored is None else np.array(ignored, bool),
        np.array(boxes, float).reshape(-1, 4),
        np.array(scores, float),
    )


# --- plain restatements, detection by detection --------------------------------------------------


def plain_overlap(a, b, pixel):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = (width + pixel) * (height + pixel)
    areas = [(c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (a, b)]
    return intersection / (sum(areas) - intersection)


def plain_matches(images, pixel):
    """(outcome, image, box, face) by falling score; outcome True, False or None for ignored."""
    ranked = [(-s, i, d) for i, im in enumerate(images) for d, s in enumerate(im.scores)]
    taken, matches = set(), []
    for _, i, d in sorted(ranked):
        best, best_face = 0.0, None
        for f, face in enumerate(images[i].faces):
            overlap = plain_overlap(images[i].boxes[d], face, pixel)
            if overlap >= best:
                best, best_face = overlap, f
        if best > 0.5:
            if images[i].ignored[best_face]:
                matches.append((None, i, d, best_face))
                continue
            matches.append(((i, best_face) not in taken, i, d, best_face))
            taken.add((i, best_face))
        else:
            matches.append((False, i, d, None))
    return matches


def plain_ap(images, pixel=0.0):
    outcomes = [outcome for outcome, *_ in plain_matches(images, pixel) if outcome is not None]
    num_faces = sum((~im.ignored).sum() for im in images)
    recalls = [sum(outcomes[:k]) / num_faces for k in range(1, len(outcomes) + 1)]
    precisions = [sum(outcomes[:k]) / k for k in range(1, len(outcomes) + 1)]
    area, before = 0.0, 0.0
    for k, recall in enumerate(recalls):
        area += (recall - before) * max(precisions[k:])
        before = recall
    return area


def plain_toolbox_ap(images):
    images = [
        ApImage(
            im.faces,
            im.ignored | np.array([min(f[2] - f[0], f[3] - f[1]) < 30 for f in im.faces], bool),
            *(
                np.array(
                    [v for v, b in zip(values, im.boxes, strict=True) if max(b[2:] - b[:2]) > 21]
                )
                for values in (im.boxes, im.scores)
            ),
        )
        for im in images
    ]
    for _ in range(4):
        found = [m for m in plain_matches(images, 1.0) if m[0]]
        pairs = [(images[i].boxes[d], images[i].faces[f]) for _, i, d, f in found]
        shift, scale = [], []
        for axis in (0, 1):
            d = [(b[axis], b[axis + 2], f[axis], f[axis + 2]) for b, f in pairs]
            shift.append(
                np.mean([((f1 + f2) / 2 - (b1 + b2) / 2) / (b2 - b1) for b1, b2, f1, f2 in d])
            )
            scale.append(np.mean([(f2 - f1) / (b2 - b1) for b1, b2, f1, f2 in d]))
        for i, im in enumerate(images):
            moved = []
            for box in im.boxes:
                half = [(box[a + 2] - box[a]) / 2 for a in (0, 1)]
                center = [(box[a + 2] + box[a]) / 2 + shift[a] * 2 * half[a] for a in (0, 1)]
                low = [center[a] - half[a] * scale[a] for a in (0, 1)]
                moved.append([*low, *(center[a] + half[a] * scale[a] for a in (0, 1))])
            images[i] = im._replace(boxes=np.array(moved).reshape(-1, 4))
    return plain_ap(images, 1.0)


def random_images(seed):
    """Crowds of overlapping faces, with detections near them, repeated ones and far ones."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(rng.integers(1, 5)):
        corners = rng.uniform(0, 120, (rng.integers(1, 6), 2))
        faces = np.hstack([corners, corners + rng.uniform(20, 60, corners.shape)])
        near = faces[rng.integers(0, len(faces), 6)]
        near = near + rng.normal(0, 5, near.shape)
        boxes = np.vstack([near, rng.uniform([0, 0, 60, 60], [60, 60, 120, 120], (2, 4))])
        scores = rng.integers(0, 9, len(boxes)) / 8
        images.append(image(faces, boxes, scores, rng.uniform(size=len(faces)) < 0.3))
    images[0].ignored[0] = False
    return images


# --- by hand -------------------------------------------------------------------------------------

FACES = [(0, 0, 40, 40), (100, 0, 140, 40), (200, 0, 240, 40), (300, 0, 340, 40)]


def test_ap_by_hand():
    """By score: right, wrong (second on a face), right, neutral, wrong, right; 4 faces of 5."""
    images = [
        image(
            [*FACES, (400, 0, 440, 40)],
            [FACES[0], FACES[0], FACES[1], (400, 0, 440, 40), (600, 0, 640, 40)],
            [0.9, 0.8, 0.7, 0.6, 0.5],
            [False, False, False, False, True],
        ),
        image([], [], []),
        image([], [(0, 0, 9, 9)], [0.45]),
        image([FACES[0]], [FACES[0]], [0.4]),
    ]
    result = evaluate_ap(images)
    assert result.num_faces == 5
    assert result.scores.tolist() == [0.9, 0.8, 0.7, 0.5, 0.45, 0.4]
    np.testing.assert_allclose(result.precision, [1, 1 / 2, 2 / 3, 2 / 4, 2 / 5, 3 / 6])
    np.testing.assert_allclose(result.recall, [0.2, 0.2, 0.4, 0.4, 0.4, 0.6])
    assert result.ap == pytest.approx(0.2 * 1 + 0.2 * 2 / 3 + 0.2 * 1 / 2)


def test_a_match_needs_more_than_the_threshold():
    half = image([FACES[0]], [(0, 0, 40, 20)], [1])
    assert evaluate_ap([half]).ap == 0
    assert evaluate_ap([half], iou_threshold=0.49).ap == 1
    # 41 x 21 of 41 x 41 pixels
    assert evaluate_ap([half], pixel=1.0).ap == 1


def test_a_detection_belongs_to_the_face_that_it_overlaps_most():
    """Not to the other face, even if that one is free or counts."""
    faces = [(0, 0, 40, 40), (8, 0, 48, 40)]
    both = [(1, 0, 41, 40), (0, 0, 40, 40)]  # each overlaps both faces by more than 0.5
    outcome, face = match_faces(image(faces, both, [0.9, 0.8]))
    assert (outcome.tolist(), face.tolist()) == ([1, 0], [0, 0])
    outcome, _ = match_faces(image(faces, both, [0.9, 0.8], [True, False]))
    assert outcome.tolist() == [-1, -1]


@pytest.mark.parametrize(("ignored", "expected"), [([True, False], 1), ([False, True], -1)])
def test_of_equal_overlaps_the_last_face_wins(ignored, expected):
    outcome, face = match_faces(image([FACES[0]] * 2, [FACES[0]], [0.5], ignored))
    assert (outcome.tolist(), face.tolist()) == ([expected], [1])


def test_no_faces_and_no_detections():
    assert np.isnan(evaluate_ap([image([], [FACES[0]], [0.5])]).ap)
    assert np.isnan(evaluate_toolbox_ap([]).ap)
    assert evaluate_ap([image(FACES, [], [])]).ap == 0
    assert evaluate_toolbox_ap([image(FACES, [], [])]).ap == 0


def test_overlaps_of_boxes_without_area():
    boxes = np.array([[0.0, 0, 40, 40], [10, 10, 10, 30], [30, 30, 10, 10], [40, 0, 60, 40]])
    for pixel in (0.0, 1.0):
        assert box_overlaps(boxes[:1], boxes, pixel).tolist() == [[1, 0, 0, 0]]


# --- properties ----------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 1.0]))
def test_ap_is_that_of_the_plain_restatement(seed, pixel):
    images = random_images(seed)
    assert evaluate_ap(images, pixel=pixel).ap == pytest.approx(plain_ap(images, pixel))


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_toolbox_ap_is_that_of_the_plain_restatement(seed):
    images = random_images(seed)
    images[0] = image([(0, 0, 50, 50)], [(0, 0, 50, 50)], [0.5])  # something to fit to
    assert evaluate_toolbox_ap(images).ap == pytest.approx(plain_toolbox_ap(images))


def test_toolbox_forgives_another_idea_of_a_box():
    """All detections reach 40 % above the face; a few are good enough to fit the shift to."""
    faces = np.array(FACES, float)
    boxes = faces + np.array([0, -16, 0, 0])
    worse = faces + np.array([0, -32, 0, -8])
    images = [image(faces, boxes, np.full(4, 0.9)), image(faces, worse, np.full(4, 0.8))]
    assert evaluate_ap(images).ap == 0.5
    assert evaluate_toolbox_ap(images).ap == 1


def test_toolbox_fits_four_times():
    """Group g lies 250 g pixels to the right of its faces and is 4 times the one before it.

    Sides are 1,000, so that a match needs an offset below 333. Each fit moves the detections by
    about 250 and brings one group more into reach: 2 after the first, 5 after the fourth, when
    groups 1 and 2 have gone too far. A fifth would reach group 6.
    """
    images = []
    for group in range(1, 7):
        faces = np.arange(4 ** (group - 1))[:, None] * 10_000 + np.array([0, 0, 1000, 1000])
        boxes = faces + np.array([250, 0, 250, 0]) * group
        images.append(image(faces, boxes, np.ones(len(faces))))
    counts = evaluate_toolbox_ap(images).recall[-1] * sum(4**g for g in range(6))
    assert counts == pytest.approx(4**2 + 4**3 + 4**4)


def test_toolbox_ignores_small_faces_and_drops_small_detections():
    small_face, small_box = (0, 0, 29, 60), (100, 0, 121, 21)
    images = [image([small_face, FACES[1]], [small_face, small_box, FACES[1]], [0.9, 0.8, 0.7])]
    toolbox = evaluate_toolbox_ap(images)
    assert (toolbox.num_faces, toolbox.ap, toolbox.scores.tolist()) == (1, 1, [0.7])
    assert evaluate_ap(images).ap == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


# --- the evaluator -------------------------------------------------------------------------------


NAME = "voc_ap_test"
DETECTIONS = {"a": (FACES[:3], [0.5, 0.9, 0.8]), "b": ([FACES[0]], [float("nan")])}


def register(evaluator_type):
    """Two images with two faces, the second one ignored."""
    annotations = [
        {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "ignore": i == 1}
        for i, box in enumerate(FACES[:2])
    ]
    dicts = [
        {"file_name": f"{image_id}.jpg", "image_id": image_id, "annotations": annotations}
        for image_id in DETECTIONS
    ]
    register_face_dataset(NAME, lambda: dicts, evaluator_type=evaluator_type)


@pytest.fixture(params=["afw", "pascal_face"])
def dataset(request):
    register(request.param)
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def run(evaluator, image_ids="ab"):
    evaluator.reset()
    for image_id in image_ids:
        boxes, scores = DETECTIONS[image_id]
        instances = Instances((60, 400))
        instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
        instances.scores = torch.tensor(scores)
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    return evaluator.evaluate()


def test_evaluator(dataset, tmp_path, caplog):
    cfg = get_cfg()
    add_srn_config(cfg)
    task = MetadataCatalog.get(dataset).evaluator_type
    with caplog.at_level(logging.INFO):
        results = run(build_evaluator(cfg, dataset, str(tmp_path / "out")))
    # Ignored, wrong, right: precision 1/2 at recall 1/2.
    assert results == {task: {"AP50": 25.0, "AP50_toolbox": 25.0}}
    assert "Image 'b': 1 detections with a NaN or infinite score" in caplog.text
    assert "AP at IoU 0.5 on voc_ap_test: 2 images" in caplog.text
    curves = json.loads((tmp_path / "out" / f"{task}_curves.json").read_text())
    assert curves["AP50"]["precision"] == [0, 0.5]
    assert curves["AP50"]["recall"] == [0, 0.5]
    np.testing.assert_allclose(curves["AP50_toolbox"]["scores"], [0.8, 0.5])


def _worker(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    results = run(VocApEvaluator(NAME, task="afw"), image_ids="ab"[rank])
    (Path(folder) / f"{rank}.json").write_text(json.dumps(results))
    leave_process_group()


def test_two_workers_give_the_results_of_one(tmp_path):
    register("afw")
    # Forked, they need not import torch again, and know the data set.
    torch.multiprocessing.start_processes(
        _worker, args=(str(tmp_path),), nprocs=2, start_method="fork"
    )
    assert json.loads((tmp_path / "0.json").read_text()) == {
        "afw": {"AP50": 25.0, "AP50_toolbox": 25.0}
    }
    assert json.loads((tmp_path / "1.json").read_text()) == {}
