"""The typed result: its arrays, iteration, JSON and pictures."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from srn_d2 import Face, Faces

BOXES = [[10.123, 5, 30.456, 25], [1, 2, 4.5, 8]]
SCORES = [0.93333, 0.25]


@pytest.fixture
def faces():
    return Faces(np.array(BOXES), np.array(SCORES), (40, 50))


@pytest.fixture
def no_faces():
    return Faces(np.zeros((0, 4)), np.zeros(0), (40, 50))


def test_length_iteration_and_truth(faces, no_faces):
    assert len(faces) == 2
    assert faces
    first, second = faces
    assert isinstance(first, Face)
    assert first.box == pytest.approx(BOXES[0])
    assert first.score == pytest.approx(SCORES[0])
    assert (second.width, second.height) == (3.5, 6)
    assert len(no_faces) == 0
    assert not no_faces
    assert list(no_faces) == []


def test_arrays_are_float32_and_cannot_be_changed(faces):
    assert (faces.boxes.dtype, faces.scores.dtype) == (np.float32, np.float32)
    with pytest.raises(ValueError, match="read-only"):
        faces.boxes[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        faces.scores = SCORES


def test_it_keeps_its_own_copy():
    boxes = np.array(BOXES, dtype=np.float32)
    faces = Faces(boxes, np.array(SCORES), (40, 50))
    boxes[:] = 0
    assert faces.boxes.max() > 0


@pytest.mark.parametrize(("boxes", "scores"), [(BOXES, [0.5]), ([1, 2, 3, 4], [0.5]), (BOXES, 0.5)])
def test_other_shapes_are_refused(boxes, scores):
    with pytest.raises(ValueError, match="boxes"):
        Faces(np.array(boxes), np.array(scores), (40, 50))


def test_dict_and_json(faces, no_faces):
    expected = {
        "height": 40,
        "width": 50,
        "faces": [
            {"bbox": [10.12, 5.0, 30.46, 25.0], "score": 0.9333},
            {"bbox": [1.0, 2.0, 4.5, 8.0], "score": 0.25},
        ],
    }
    assert faces.to_dict() == expected
    assert json.loads(faces.to_json()) == expected
    assert json.loads(faces.to_json(indent=2)) == expected
    assert faces.to_json(indent=2).count("\n") > faces.to_json().count("\n") == 0
    assert no_faces.to_dict() == expected | {"faces": []}


def test_drawing_gives_what_it_was_given(faces, no_faces, tmp_path):
    grey = np.full((40, 50, 3), 128, dtype=np.uint8)
    path = tmp_path / "grey.png"
    Image.fromarray(grey).save(path)
    drawn = faces.draw(grey)
    assert isinstance(drawn, np.ndarray)
    assert (drawn[4:26, 9:32] != 128).any()
    assert (grey == 128).all()
    for picture in (path, str(path), Image.fromarray(grey)):
        result = faces.draw(picture)
        assert isinstance(result, Image.Image)
        np.testing.assert_array_equal(np.asarray(result), drawn)
    tensor = torch.from_numpy(grey).permute(2, 0, 1)
    np.testing.assert_array_equal(faces.draw(tensor), drawn)
    np.testing.assert_array_equal(no_faces.draw(grey), grey)


def test_an_image_of_another_size_is_not_drawn_on(faces):
    with pytest.raises(ValueError, match=r"\(50, 40\)"):
        faces.draw(np.zeros((50, 40, 3), dtype=np.uint8))
