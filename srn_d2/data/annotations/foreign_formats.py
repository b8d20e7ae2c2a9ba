"""Annotation formats that are not read directly: recognised, with the way to convert each."""

import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

FOLDERS = (
    "give the folder with the files as annotations: it is read with supervision, which "
    "pip install 'srn_d2[formats]' installs"
)
LABEL_STUDIO = (
    "Label Studio's own JSON: in Label Studio choose Export and then COCO, and give the JSON in it"
)
CVAT = (
    "CVAT's own XML: in CVAT choose Export task dataset and then COCO 1.0, or convert the file in "
    "an environment of its own: pip install datumaro tensorboardX; "
    "datum convert -if cvat -i FOLDER -f coco -o OUT"
)
VIA = (
    "an annotation file of VGG Image Annotator (VIA): choose Annotation and then Export "
    "Annotations (COCO format) in it"
)


def describe_foreign_file(path: Path) -> str:
    """What a file of another suffix than .txt, .json or .csv is, and what to do; or ""."""
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return f"a ZIP archive{_inside(path)}: unpack it, and give the annotation file in it"
    if suffix in (".gz", ".bz2", ".xz", ".7z", ".tar", ".tgz", ".rar"):
        return "a packed file: unpack it, and give the annotation file in it"
    if suffix == ".xml":
        return _describe_xml(path)
    if suffix in (".jsonl", ".ndjson"):
        return "JSON lines: export COCO instead"
    if suffix == ".mat":
        return (
            "a MATLAB file: WIDER FACE's training and validation faces are in "
            "wider_face_*_bbx_gt.txt, which is read"
        )
    if suffix in (".xlsx", ".xls", ".ods"):
        return "a spreadsheet: save it as CSV"
    if suffix == ".parquet":
        return "a Parquet table: save it as CSV, such as with pandas"
    if suffix in (".record", ".tfrecord"):
        return "a TFRecord file: export COCO from where it was made"
    return ""


def describe_foreign_json(content: Any) -> str:
    """What JSON is that is not COCO, and what to do; "" if it is not known.

    Args:
        content: the members of the object other than "images" and "annotations"; or of a list its
            first item.
    """
    if not isinstance(content, dict):
        return ""
    if "shapes" in content and "imagePath" in content:
        return f"a file of labelme, one of those that there are for each image: {FOLDERS}"
    if "_via_img_metadata" in content or any(
        isinstance(value, dict) and {"filename", "regions"} <= value.keys()
        for value in list(content.values())[:1]
    ):
        return VIA
    if "data" in content and {"annotations", "completions", "predictions"} & content.keys():
        return LABEL_STUDIO
    if "image" in content and {"annotations", "label"} & content.keys():
        if isinstance(content.get("image"), str) and "annotations" in content:
            return f"CreateML's JSON: {FOLDERS}"
        return "Label Studio's JSON-MIN: choose Export and then COCO, and give the JSON in it"
    if {"image_id", "bbox"} <= content.keys():
        if "score" in content:
            return "COCO's results (detections with scores), not annotations"
        return 'a list of annotations alone: COCO is {"images": [...], "annotations": [...], ...}'
    if {"items", "categories"} <= content.keys():
        return (
            "datumaro's own JSON: convert it with datum convert -if datumaro -i FOLDER -f coco "
            "-o OUT"
        )
    if "Data Row ID" in content or "data_row" in content:
        return "Labelbox's export: export COCO instead"
    return ""


def describe_foreign_header(header: Sequence[str]) -> str:
    """What a CSV is that has these columns, and what to do; "" if it is not known."""
    names = {name.strip().lower() for name in header}
    if "region_shape_attributes" in names:
        return VIA
    if {"image", "label"} & names and {"annotator", "annotation_id", "lead_time"} & names:
        return "Label Studio's CSV: choose Export and then COCO, and give the JSON in it"
    return ""


def describe_yolo_line(line: str) -> str:
    """What a text is whose first line is this, and what to do; "" if it is not known."""
    fields = line.split()
    if len(fields) < 5 or not fields[0].isdigit():
        return ""
    try:
        numbers = [float(field) for field in fields[1:5]]
    except ValueError:
        return ""
    if all(0 <= number <= 1 for number in numbers):
        return f"a label file of YOLO, one of those that there are for each image: {FOLDERS}"
    return ""


def _describe_xml(path: Path) -> str:
    try:
        _, root = next(iter(ElementTree.iterparse(path, events=("start",))))
    except (OSError, StopIteration, ElementTree.ParseError):
        return "an XML file that cannot be read: restore it, or export COCO instead"
    if root.tag == "annotations":
        return CVAT
    if root.tag == "annotation":
        return f"an XML file of Pascal VOC (LabelImg), one of those for each image: {FOLDERS}"
    return f"an XML file of an unknown kind (<{root.tag}>)"


def _inside(path: Path) -> str:
    """The annotation files in a ZIP archive, for a message."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return ""
    found = _first_with_suffix(names, (".json", ".csv", ".xml", ".txt"))
    return f" with {', '.join(found)}" if found else ""


def _first_with_suffix(names: Iterable[str], suffixes: Sequence[str]) -> list[str]:
    matching = [name for name in names if os.path.splitext(name)[1].lower() in suffixes]
    return matching[:3]
