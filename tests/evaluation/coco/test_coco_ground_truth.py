"""Faces that count in COCO-style AP."""

import numpy as np
from detectron2.structures import BoxMode

from srn_d2.evaluation.coco.ground_truth import annotated_faces, setting_faces
from srn_d2.evaluation.widerface.ap import WiderFaceGroundTruth


def annotation(bbox, mode=BoxMode.XYWH_ABS, **flags):
    return {"bbox": bbox, "bbox_mode": mode, "category_id": 0, **flags}


def test_crowd_ignore_and_empty_boxes():
    annotations = [
        annotation([0, 0, 5, 5], iscrowd=0),
        annotation([1, 1, 5, 5], iscrowd=1),
        annotation([2, 2, 7, 7], BoxMode.XYXY_ABS, ignore=True),
        annotation([3, 3, 0, 5], iscrowd=0),
    ]
    images = [{"image_id": 3, "annotations": annotations}, {"image_id": "no face"}]
    faces = annotated_faces(images)
    assert list(faces) == [3, "no face"]
    np.testing.assert_array_equal(faces[3].boxes, [[0, 0, 5, 5], [1, 1, 6, 6], [2, 2, 7, 7]])
    np.testing.assert_array_equal(faces[3].crowd, [False, True, True])
    np.testing.assert_array_equal(faces[3].counted, [True, False, False])
    assert faces["no face"].boxes.shape == (0, 4)


def test_setting():
    # Counted; outside the setting; invalid; without area.
    boxes = np.array([[0, 0, 5, 5], [1, 1, 5, 5], [2, 2, 5, 5], [0, 0, 0, 0]], np.int32)
    ground_truth = WiderFaceGroundTruth(
        {"a": boxes, "b": boxes[:1]},
        {"easy": {"a": np.array([1, 0, 0, 0], bool), "b": np.array([0], bool)}},
        {"invalid": {"a": np.array([0, 0, 1, 0]), "b": np.array([0])}},
    )
    faces = setting_faces(ground_truth, "easy", ["a"])
    assert list(faces) == ["a"]
    np.testing.assert_array_equal(faces["a"].boxes, [[0, 0, 5, 5], [1, 1, 6, 6], [2, 2, 7, 7]])
    np.testing.assert_array_equal(faces["a"].counted, [True, False, False])
    np.testing.assert_array_equal(faces["a"].crowd, [False, False, True])
    assert faces["a"].num_counted == 1
    np.testing.assert_array_equal(boxes[0], [0, 0, 5, 5])  # the input is left alone
    unknown = WiderFaceGroundTruth(ground_truth.boxes, ground_truth.counted)
    assert not setting_faces(unknown, "easy", ["a"])["a"].crowd.any()
