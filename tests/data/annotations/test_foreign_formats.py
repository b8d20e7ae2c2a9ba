"""Formats that are not read are named, with the way to convert them."""

import json
import zipfile

import pytest

from srn_d2.data.annotations import read_faces

BOX = [1, 2, 30, 40]
FOLDER = "give the folder with the files as annotations"
COCO = "COCO"


@pytest.mark.parametrize(
    ("content", "name", "way"),
    [
        ({"shapes": [], "imagePath": "a.jpg", "imageData": None}, "labelme", FOLDER),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "VGG Image Annotator", COCO),
        ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "VGG Image Annotator", COCO),
        ([{"id": 1, "data": {"image": "a.jpg"}, "annotations": []}], "Label Studio", COCO),
        ([{"id": 1, "image": "a.jpg", "label": []}], "Label Studio", COCO),
        ([{"image": "a.jpg", "annotations": []}], "CreateML", FOLDER),
        ([{"image_id": 1, "category_id": 1, "bbox": BOX, "score": 0.5}], "results", "not annot"),
        ([{"image_id": 1, "category_id": 1, "bbox": BOX}], "annotations alone", '"images"'),
        ({"info": {}, "categories": {}, "items": []}, "datumaro", "datum convert -if datumaro"),
    ],
)
def test_json(write, pictures, content, name, way):
    with pytest.raises(ValueError, match=name) as error:
        read_faces(write("f.json", json.dumps(content)), pictures)
    assert way in str(error.value)


@pytest.mark.parametrize(
    ("file", "text", "name", "way"),
    [
        ("f.xml", "<annotations><version>1.1</version></annotations>", "CVAT", "COCO 1.0"),
        ("f.xml", "<annotation><object/></annotation>", "Pascal VOC", FOLDER),
        ("f.xml", "<plist/>", "unknown kind", "<plist>"),
        ("f.xml", "", "cannot be read", COCO),
        ("f.txt", "0 0.5 0.5 0.1 0.2\n", "YOLO", FOLDER),
        ("f.csv", "filename,region_shape_attributes\n", "VGG Image Annotator", COCO),
        ("f.csv", "annotation_id,annotator,image,label\n", "Label Studio", COCO),
        ("f.jsonl", "", "JSON lines", COCO),
        ("f.xlsx", "", "spreadsheet", "CSV"),
        ("f.mat", "", "MATLAB", "wider_face_"),
        ("f.tar.gz", "", "packed", "unpack"),
        ("f.parquet", "", "Parquet", "CSV"),
    ],
)
def test_other_files(write, pictures, file, text, name, way):
    with pytest.raises(ValueError, match=name) as error:
        read_faces(write(file, text), pictures)
    assert way in str(error.value)


def test_a_zip_names_what_is_in_it(tmp_path, pictures):
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as archive:
        archive.writestr("annotations/instances.json", "{}")
        archive.writestr("images/a.jpg", "")
    with pytest.raises(ValueError, match=r"ZIP.*annotations/instances\.json: unpack it"):
        read_faces(tmp_path / "f.zip", pictures)
    (tmp_path / "f.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match="ZIP archive: unpack it"):
        read_faces(tmp_path / "f.zip", pictures)
