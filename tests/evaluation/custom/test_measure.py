"""Measures on one's own annotations: COCO-style AP as the evaluator's, the rest by hand."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.plain_wider_face import plain_python_port
from srn_d2.evaluation.coco.ap import ImageFaces
from srn_d2.evaluation.custom.annotations import AnnotatedImages, read_annotated_images
from srn_d2.evaluation.custom.measure import SETTING, average_precision_at_half, measure_custom
from srn_d2.evaluation.predictions.image_names import ImageNames

FACE, SMALL, REGION = [10, 10, 50, 50], [100, 100, 106, 106], [200, 200, 300, 300]


def annotated(faces, ignored=None):
    """Image id -> boxes (XYXY); ``ignored`` likewise."""
    images = {}
    for image_id, boxes in faces.items():
        regions = (ignored or {}).get(image_id, [])
        crowd = np.array([False] * len(boxes) + [True] * len(regions), dtype=bool)
        both = np.array([*boxes, *regions], dtype=float).reshape(-1, 4)
        images[image_id] = ImageFaces(both, crowd, ~crowd)
    return AnnotatedImages(images, ImageNames({i: f"{i}.jpg" for i in images}))


def detections(*boxes):
    """(n, 5) XYWH and scores from (XYXY, score)."""
    rows = [[x1, y1, x2 - x1, y2 - y1, score] for (x1, y1, x2, y2), score in boxes]
    return np.array(rows, dtype=float).reshape(-1, 5)


def measure(predictions, images):
    return measure_custom("ours", predictions, images)


def test_perfect_detections():
    images = annotated({"a": [FACE, SMALL], "b": [FACE]})
    predictions = {"a": detections((FACE, 0.9), (SMALL, 0.5)), "b": detections((FACE, 0.7))}
    report = measure(predictions, images)
    assert {r.ap for r in report.results[SETTING].values()} == {1.0}
    assert report.coco_ap == dict.fromkeys((0.5, 0.6, 0.7, 0.8), 1.0)
    assert report.main_setting == SETTING
    heights = {group.name: group.num_faces for group in report.groups}
    assert heights == {"0-8 px": 1, "8-16 px": 0, "16-32 px": 0, "32-96 px": 2, "96 px and over": 0}


def test_detections_in_ignore_regions_are_left_out():
    images = annotated({"a": [FACE]}, {"a": [REGION]})
    inside, beside = [210, 210, 240, 240], [400, 210, 440, 240]
    predictions = {"a": detections((inside, 0.95), (FACE, 0.9), (inside, 0.85), (beside, 0.1))}
    report = measure(predictions, images)
    curve = report.curves[SETTING]
    assert (curve.num_faces, curve.false_positives.tolist()) == (1, [0, 1])
    assert report.results[SETTING][0.5].ap == report.coco_ap[0.5] == 1
    with_more = {"a": np.vstack([predictions["a"], detections((beside, 0.99))])}
    assert measure(with_more, images).results[SETTING][0.5].ap == 0.5


def test_a_face_is_found_even_where_a_region_covers_it():
    images = annotated({"a": [FACE]}, {"a": [[0, 0, 100, 100]]})
    report = measure({"a": detections((FACE, 0.9), (SMALL, 0.2))}, images)
    assert report.results[SETTING][0.5].ap == report.coco_ap[0.5] == 1


def test_detections_on_images_without_faces_are_false():
    images = annotated({"a": [FACE], "empty": []})
    predictions = {"a": detections((FACE, 0.8)), "empty": detections((FACE, 0.9), (SMALL, 0.1))}
    report = measure(predictions, images)
    assert report.results[SETTING][0.5].ap == report.coco_ap[0.5] == 0.5
    assert report.table[0].false_positives_per_image == 1


def test_no_detections():
    report = measure({"a": detections()}, annotated({"a": [FACE]}))
    assert (report.results[SETTING][0.5].ap, report.coco_ap[0.5]) == (0, 0)
    assert report.warnings == ("there is not a single detection",)


_SIDES = st.integers(5, 40)
_FACES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), _SIDES, _SIDES), max_size=4)
_SCORES = st.sampled_from([0.1, 0.2, 0.35, 0.5, 0.8, 0.9])


@given(
    st.lists(_FACES, min_size=1, max_size=3),
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), _SCORES, st.integers(-6, 6)), max_size=8
    ),
)
@settings(max_examples=30, deadline=None)
def test_without_ignored_faces_it_is_the_ports_protocol(faces, found):
    """As the popular ports compute it, but for images without faces, which these leave out."""
    boxes = {str(i): [list(box) for box in them] for i, them in enumerate(faces) if them}
    predictions = {image: [] for image in boxes}
    for i, j, score, shift in found:
        own = boxes.get(str(i % len(faces)))
        if own:
            x, y, w, h = own[j % len(own)]
            predictions[str(i % len(faces))].append([x + shift, y, w, h, score])
    if not any(predictions.values()):
        return
    images = annotated(
        {i: [[x, y, x + w, y + h] for x, y, w, h in them] for i, them in boxes.items()}
    )
    arrays = {i: np.array(rows, dtype=float).reshape(-1, 5) for i, rows in predictions.items()}
    everything = {i: list(range(1, len(them) + 1)) for i, them in boxes.items()}
    expected, _, _ = plain_python_port(predictions, boxes, everything)
    assert average_precision_at_half(arrays, images, list(boxes)) == pytest.approx(expected)


def test_annotations_of_a_coco_file(tmp_path):
    content = {
        "images": [{"id": 3, "file_name": "x/a.jpg", "width": 640, "height": 480}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 1, "bbox": [1, 2, 30, 40], "iscrowd": 0},
            {"id": 2, "image_id": 3, "category_id": 1, "bbox": [100, 2, 30, 40], "iscrowd": 1},
        ],
        "categories": [{"id": 1, "name": "face"}],
    }
    (tmp_path / "faces.json").write_text(json.dumps(content))
    found = read_annotated_images(tmp_path / "faces.json")
    assert found.faces[3].boxes.tolist() == [[1, 2, 31, 42], [100, 2, 130, 42]]
    assert found.faces[3].crowd.tolist() == [False, True]
    assert (found.images.names, found.images.size(3)) == ({3: "x/a.jpg"}, (480, 640))
