"""Annotations as arrays behave as the list of dicts that they stand for."""

import copy
import pickle

import numpy as np
import pytest
from detectron2.structures import BoxMode
from hypothesis import given
from hypothesis import strategies as st

from srn_d2.data.annotations.face_annotations import FaceAnnotations

rows = st.lists(
    st.tuples(*[st.floats(0, 99, width=32)] * 4, st.booleans(), st.integers(0, 2)), max_size=5
)


def make(rows, crowd=True):
    faces = FaceAnnotations(
        np.array([row[:4] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([row[4] for row in rows], dtype=bool),
        {"blur": np.array([row[5] for row in rows], dtype=np.int64)},
        crowd,
    )
    dicts = [
        {
            "bbox": list(row[:4]),
            "bbox_mode": BoxMode.XYWH_ABS,
            "category_id": 0,
            "iscrowd": int(row[4] and crowd),
            "ignore": row[4],
            "blur": row[5],
        }
        for row in rows
    ]
    return faces, dicts


@given(rows, st.booleans())
def test_as_the_list_of_dicts(rows, crowd):
    faces, dicts = make(rows, crowd)
    assert len(faces) == len(dicts)
    assert faces.is_only_crowd == all(a["iscrowd"] for a in dicts)
    for same in (pickle.loads(pickle.dumps(faces)), copy.deepcopy(faces), faces):
        assert same.boxes.tolist() == [a["bbox"] for a in dicts]
        assert same.ignored.tolist() == [a["ignore"] for a in dicts]
        assert same == dicts
        assert list(same) == dicts
        assert pickle.loads(pickle.dumps(same)) == dicts
        assert same.is_only_crowd == all(a["iscrowd"] for a in dicts)


def test_changes_are_kept():
    faces, dicts = make([(1, 2, 3, 4, False, 0), (5, 6, 7, 8, True, 1)])
    for annotation in faces:
        annotation["bbox"][0] += 10
    faces[1]["blur"] = 2
    faces.append(dict(dicts[0]))
    del faces[0]
    again = pickle.loads(pickle.dumps(faces))
    assert [a["bbox"] for a in again] == [[15, 6, 7, 8], [1, 2, 3, 4]]
    assert again[0]["blur"] == 2
    assert faces.boxes.tolist() == [[15, 6, 7, 8], [1, 2, 3, 4]]
    assert [*faces, 1] == faces + [1]  # noqa: RUF005
    assert faces != 3
    with pytest.raises(TypeError):
        hash(faces)
