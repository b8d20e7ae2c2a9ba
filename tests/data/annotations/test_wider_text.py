"""WIDER FACE's text as other programs write it; the official files: test_wider_face.py."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srn_d2.data.annotations import read_faces
from srn_d2.data.annotations.wider_records import WiderFaceFormatError
from srn_d2.data.annotations.wider_text import parse_wider_annotations, parse_wider_text

OFFICIAL = ["blur", "expression", "illumination", "invalid", "occlusion", "pose"]
DATUMARO = ["blur", "expression", "illumination", "occlusion", "pose", "invalid"]

# As datumaro 1.13.0 exports an occluded face, a face with a label, and an image without faces.
FROM_DATUMARO = """\
no_label/a.jpg
1
10.5 5.0 19.5 20.25 - - - True - - \n\
no_label/b.png
no_label/c d.jpg
2
1.0 2.0 30.0 40.0 head
5.0 6.0 7.0 8.0 - - - False - - head
no_label/ä.jpg
"""

faces = st.lists(st.tuples(*[st.floats(0, 99).map(lambda x: round(x, 3))] * 4), max_size=3)
landmarks = st.sampled_from([["1.5", "-1", "0.0"] * 5, ["7", "8.25", "1.0"] * 5 + ["0.82"]])


def boxes_of(text):
    return [[list(face[:4]) for face in image.faces] for image in parse_wider_annotations(text)]


@given(st.lists(faces, min_size=1, max_size=3), st.sampled_from(["jpg", "jfif", "JPE", "webp"]))
def test_boxes_alone_with_a_count(records, suffix):
    lines = []
    for number, boxes in enumerate(records):
        lines += [f"{number}.{suffix}", str(len(boxes))]
        lines += [" ".join(map(str, box)) for box in boxes]
    assert boxes_of("\n".join(lines)) == [[list(box) for box in boxes] for boxes in records]


@given(st.lists(st.tuples(faces, landmarks), min_size=2, max_size=4))
def test_landmarks_of_retinaface(records):
    """'# path' before the faces, no counts; an image without faces has no line."""
    lines = []
    for number, (boxes, points) in enumerate(records):
        lines.append(f"# {number}/a.jpg")
        lines += [" ".join(map(str, [*box, *points])) for box in boxes]
    text = parse_wider_text("\n".join(lines))
    assert [image.name for image in text.images] == [f"{n}/a.jpg" for n in range(len(records))]
    assert boxes_of("\n".join(lines)) == [[list(box) for box in boxes] for boxes, _ in records]
    num_faces = sum(len(boxes) for boxes, _ in records)
    assert any(f"{num_faces} faces" in note for note in text.notes) == (num_faces > 0)


@given(st.lists(st.sampled_from(["-", "True", "False"]), min_size=6, max_size=6))
def test_attributes_in_datumaros_order(values):
    """It takes the official column "invalid" for "occluded", and so on."""
    (image,) = parse_wider_annotations(f"a.jpg\n1\n1.5 2.0 3.0 4.0 {' '.join(values)} \n")
    found = {name: getattr(image.faces[0], name) for name in OFFICIAL}
    assert found == {
        name: int(value == "True") for name, value in zip(DATUMARO, values, strict=True)
    }


def test_an_export_of_datumaro(write, pictures):
    path = write("f.txt", FROM_DATUMARO.replace(" head", ""))
    table = read_faces(path, pictures)
    assert [p.removeprefix(f"{pictures}/") for p in table.paths] == [
        *("a.jpg", "sub/b.png", "sub/c d.jpg", "sub/ä.jpg")
    ]
    assert table.image_of.tolist() == [0, 2, 2]
    assert not table.ignored.any()  # occluded, not invalid
    assert table.columns["occlusion"].tolist() == [1, 0, 0]
    assert "2 images without a number of faces" in table.summary()


def test_labels_at_the_end(write, pictures):
    path = write("f.txt", FROM_DATUMARO)
    assert read_faces(path, pictures).boxes[:, 0].tolist() == [10.5]  # "face" is left out
    assert len(read_faces(path, pictures, categories=["head", "face"]).boxes) == 3
    only = write("f.txt", "a.jpg\n1\n1 2 30 40 0 0 0 0 0 0 a head\n")
    assert len(read_faces(only, pictures).boxes) == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a.jpg\n1\n1 2 30 40 0.9\n", 3),  # a detection
        ("a.jpg\n1\n1 2 30 40 0 0 0\n", 3),
        ("a.jpg\n1\n1 2 30 40 0 0 0 0 0 0 0\n", 3),
        ("a.jpg\n1\n1 2 30 40 0 0 0 0 0 2.5\n", 3),
        ("a.jpg\n1\n1 2 30 nan\n", 3),
        ("a.jpg\n1\n1,2,30,40\n", 3),
        ("a.jpg\nx\n", 2),
        ("a.jpg\n", 1),
        ("a.jpg\nb.jpg\n", 2),  # a list of names has no faces
        ("a.jpg\n1\n1 2 30 40\nb.jpg\n", 4),  # cut, or is it?
        ("a.jpg\n2\n1 2 30 40\nb.jpg\n0\n", 4),
        ("a.jpg\n1.5\n", 2),
        ("# a.jpg\n1 2 30 40 1 2\n", 2),
    ],
)
def test_the_error_names_the_line(text, line):
    with pytest.raises(WiderFaceFormatError, match=rf"<text>, line {line}: "):
        parse_wider_annotations(text)
