"""Folders with a file for each image, as YOLO, LabelImg and labelme write them."""

import builtins
import json

import pytest
from PIL import Image

from helpers.small_pictures import write_picture
from srn_d2.data.annotation_files import AnnotationFormatError
from srn_d2.data.annotations import read_faces

BOX = [30, 24, 60, 72]  # of 120 x 160 and of 160 x 120
VOC = """<annotation><filename>{name}.jpg</filename>
<object><name>{label}</name><difficult>{difficult}</difficult><bndbox><xmin>31</xmin>
<ymin>25</ymin><xmax>90</xmax><ymax>96</ymax></bndbox></object></annotation>"""


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    write_picture(folder / "a.jpg")
    write_picture(folder / "turned.jpg", orientation=6)
    write_picture(folder / "bare.jpg")
    return folder


def yolo_line(width, height, number=0):
    x, y, w, h = BOX
    return f"{number} {(x + w / 2) / width} {(y + h / 2) / height} {w / width} {h / height}\n"


@pytest.mark.parametrize("names", ["labels/classes.txt", "data.yaml", "labels/obj.names"])
def test_yolo(tmp_path, images, names):
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.txt").write_text(yolo_line(160, 120) + yolo_line(160, 120, 1))
    (labels / "turned.txt").write_text(yolo_line(120, 160))
    with pytest.raises(AnnotationFormatError, match=r"names of classes are missing.*data\.yaml"):
        read_faces(labels, images)
    text = "face\nit's a car\n"
    if names.endswith("yaml"):
        text = "names:\n  0: face\n  1: it's a car\n"
    (tmp_path / names).write_text(text)
    table = read_faces(labels, images)
    assert [table.names[row] for row in table.image_of] == ["a.jpg", "turned.jpg"]
    for box in table.boxes.tolist():
        assert box == pytest.approx(BOX, abs=1e-3)
    assert "1 images without an annotation file" in table.summary()
    assert table.dropped == {'of other categories: "it\'s a car" (1)': 1}


def test_pascal_voc(tmp_path, images):
    folder = tmp_path / "voc"
    folder.mkdir()
    (folder / "a.xml").write_text(VOC.format(name="a", label="face", difficult=1))
    (folder / "bare.xml").write_text(VOC.format(name="bare", label="car", difficult=0))
    table = read_faces(folder, images)
    assert table.boxes.tolist() == [BOX]
    assert "1 objects marked difficult" in table.summary()
    (folder / "a.xml").write_text("<annotation><object>")
    with pytest.raises(AnnotationFormatError, match=r"a\.xml, line 1: damaged XML"):
        read_faces(folder, images)
    bad = VOC.format(name="a", label="face", difficult=1).replace("31", "left")
    (folder / "a.xml").write_text(bad)
    with pytest.raises(AnnotationFormatError, match=r"a\.xml, supervision: .*left"):
        read_faces(folder, images)


def test_another_size_than_the_picture_has(tmp_path, images):
    folder = tmp_path / "voc"
    folder.mkdir()
    size = "<annotation><size><width>120</width><height>160</height></size>"
    text = VOC.format(name="a", label="face", difficult=0).replace("<annotation>", size)
    (folder / "a.xml").write_text(text)
    with pytest.raises(AnnotationFormatError, match="1 width and height exchanged"):
        read_faces(folder, images)
    assert read_faces(folder, images, allow_size_mismatch=True).boxes.tolist() == [BOX]
    folder = tmp_path / "labelme"
    folder.mkdir()
    content = {"imagePath": "../images/a.jpg", "imageWidth": 320, "imageHeight": 240, "shapes": []}
    (folder / "a.json").write_text(json.dumps(content))
    with pytest.raises(AnnotationFormatError, match="1 the same picture in another size"):
        read_faces(folder, images)
    (folder / "a.json").write_text("{")
    with pytest.raises(AnnotationFormatError, match=r"a\.json, line 1: damaged JSON"):
        read_faces(folder, images)


def test_labelme(tmp_path, images):
    folder = tmp_path / "labelme"
    folder.mkdir()
    x, y, w, h = BOX
    shapes = [
        {"label": "face", "points": [[x + w, y], [x, y + h]], "shape_type": "rectangle"},
        {"label": "face", "points": [[x, y], [1, 2]], "shape_type": "circle"},
    ]
    content = {"imagePath": "..\\images\\a.jpg", "imageWidth": 160, "imageHeight": 120}
    (folder / "a.json").write_text(json.dumps({**content, "shapes": shapes}))
    table = read_faces(folder, images)
    assert table.boxes.tolist() == [BOX]
    assert "circle" in table.summary()


def test_annotations_without_an_image_are_no_silent_loss(tmp_path, images):
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "classes.txt").write_text("face\n")
    (labels / "a.txt").write_text(yolo_line(160, 120))
    (labels / "other.txt").write_text(yolo_line(160, 120))
    with pytest.raises(FileNotFoundError, match=r"1 of 2 annotation files have no image.*other"):
        read_faces(labels, images)
    Image.open(images / "a.jpg").save(images / "other.jfif", format="JPEG")
    with pytest.raises(AnnotationFormatError, match=r"other\.txt: supervision does not read"):
        read_faces(labels, images)


def test_what_is_missing(tmp_path, images, monkeypatch):
    with pytest.raises(FileNotFoundError, match="holds no annotation files itself"):
        read_faces(images, images)
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "a.xml").write_text(VOC.format(name="a", label="face", difficult=0))
    with pytest.raises(ValueError, match="needs image_root"):
        read_faces(tmp_path / "voc")
    plain_import = builtins.__import__

    def without_supervision(name, *args, **kwargs):
        if name == "supervision":
            raise ImportError(name)
        return plain_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_supervision)
    with pytest.raises(ImportError, match=r"pip install 'srn_d2\[formats\]'"):
        read_faces(tmp_path / "voc", images)
