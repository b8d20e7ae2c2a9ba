"""Annotations with a file for each image (YOLO, Pascal VOC, labelme), read with supervision."""

import json
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any
from xml.etree import ElementTree

import numpy as np

from srn_d2.data.annotation_files import AnnotationFormatError, has_image_suffix

from .coco_json import to_number
from .csv_faces import keep_face_labels
from .table import FaceTable

# Suffix of the files in the folder -> name of supervision's reader.
_READERS = {".xml": "from_pascal_voc", ".json": "from_labelme", ".txt": "from_yolo"}
_YOLO_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
_SUPERVISION_ERRORS = (ValueError, KeyError, TypeError, AttributeError, OSError)
_DIFFICULT = b"<difficult>1</difficult>"
# Text files in YOLO's folders that are no labels.
_NO_LABELS = ("classes", "labels", "train", "val", "valid", "test", "readme", "notes")


def read_folder(
    annotation_folder: str | os.PathLike,
    image_root: str | os.PathLike,
    categories: Sequence[str | int] | None = None,
) -> FaceTable:
    """The faces of a folder with one annotation file for each image of ``image_root``.

    Args:
        annotation_folder: holds .xml files of Pascal VOC (LabelImg), .json files of labelme, or
            .txt files of YOLO; for YOLO the names of the classes are in a data.yaml in it or one
            of the two folders above, or in a classes.txt beside the files.
        image_root: the folder that holds the images themselves.
        categories: see :func:`choose_face_categories`.

    Raises:
        FileNotFoundError: there is no such file, or there are some whose image is missing.
        AnnotationFormatError: supervision cannot read them; the message has its reason.
        ImportError: supervision is not installed; the message says how to.
    """
    folder = Path(annotation_folder)
    source = str(folder)
    suffix, files = _label_files(folder)
    declared = {} if suffix == ".txt" else _declared_sizes(files)
    if suffix != ".json":  # labelme's files name their image
        _require_images(files, Path(image_root), source)
    supervision = _import_supervision()
    arguments = {
        "images_directory_path": str(image_root),
        "annotations_directory_path": source,
    }
    with tempfile.TemporaryDirectory() as scratch:
        if suffix == ".txt":
            arguments["data_yaml_path"] = _data_yaml(folder, Path(scratch))
        try:
            read = getattr(supervision.DetectionDataset, _READERS[suffix])
            with warnings.catch_warnings(record=True) as caught:  # such as of shapes left out
                warnings.simplefilter("always", UserWarning)
                dataset = read(**arguments)
        except _SUPERVISION_ERRORS as error:
            bad = _first_bad_file(read, arguments, files)
            raise AnnotationFormatError(bad or source, "supervision", str(error)) from error
    if suffix != ".json":
        _require_all_read(files, dataset.image_paths, source)
    table = _to_table(dataset, source, Path(image_root), {file.stem for file in files})
    keys = [Path(name).stem for name in table.names]
    table.declared_sizes = np.array([declared.get(key, (0, 0)) for key in keys], float)
    table.notes += sorted({str(warning.message) for warning in caught})
    num_difficult = sum(file.read_bytes().count(_DIFFICULT) for file in files)
    if suffix == ".xml" and num_difficult:
        table.notes.append(f"{num_difficult} objects marked difficult count as any other")
    labels = [dataset.classes[int(number)] for number in table.columns.pop("class")]
    keep_face_labels(table, labels, categories, "classes")
    return table


def _label_files(folder: Path) -> tuple[str, list[Path]]:
    for suffix in _READERS:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == suffix)
        if suffix == ".txt":
            files = [path for path in files if path.stem.lower() not in _NO_LABELS]
        if files:
            return suffix, files
    raise FileNotFoundError(
        f"The folder {folder} holds no annotation files itself: give the folder that has the "
        ".xml files of Pascal VOC (LabelImg), .json files of labelme or .txt files of YOLO in it, "
        "or a .json, .csv or .txt file of all images"
    )


def _declared_sizes(files: Sequence[Path]) -> dict[str, tuple[float, float]]:
    """The image's name without its suffix -> width and height in its .xml or .json file.

    Raises:
        AnnotationFormatError: a file is damaged; names it and the line.
    """
    sizes = {}
    for path in files:
        try:
            if path.suffix.lower() == ".xml":
                root = ElementTree.parse(path).getroot()
                size = root.findtext("size/width"), root.findtext("size/height")
                name = path.stem
            else:
                content = json.loads(path.read_bytes())
                size = content.get("imageWidth"), content.get("imageHeight")
                name = PureWindowsPath(content.get("imagePath") or path.name).stem
        except ElementTree.ParseError as error:
            where = f"line {error.position[0]}"
            raise AnnotationFormatError(path, where, f"damaged XML: {error}") from error
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}"
            raise AnnotationFormatError(path, where, f"damaged JSON: {error.msg}") from error
        except (AttributeError, TypeError, UnicodeDecodeError) as error:
            raise AnnotationFormatError(path, "its keys", "this is no file of labelme") from error
        sizes[name] = (to_number(size[0]), to_number(size[1]))
    return sizes


def _first_bad_file(read: Any, arguments: dict[str, str], files: Sequence[Path]) -> Path | None:
    """The first annotation file that supervision cannot read by itself."""
    for path in files:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / path.name).write_bytes(path.read_bytes())
            try:
                read(**{**arguments, "annotations_directory_path": folder})
            except _SUPERVISION_ERRORS:
                return path
    return None


def _require_images(files: Sequence[Path], image_root: Path, source: str) -> None:
    """supervision passes over annotation files without an image, and looks in one folder alone."""
    found = image_root.iterdir() if image_root.is_dir() else ()
    stems = {path.stem for path in found if has_image_suffix(path.name)}
    missing = [path.name for path in files if path.stem not in stems]
    if missing:
        raise FileNotFoundError(
            f"{source}: {len(missing)} of {len(files)} annotation files have no image of their "
            f"name in image_root, {image_root}: {', '.join(missing[:5])}; image_root is the folder "
            "that holds the images themselves"
        )


def _require_all_read(files: Sequence[Path], image_paths: Sequence[str], source: str) -> None:
    """supervision reads images of some suffixes only."""
    stems = {Path(path).stem for path in image_paths}
    unread = [path.name for path in files if path.stem not in stems]
    if unread:
        raise AnnotationFormatError(
            source,
            ", ".join(unread[:5]),
            f"supervision does not read the images of {len(unread)} files by their suffix: save "
            "them as .jpg or .png",
        )


def _data_yaml(folder: Path, scratch: Path) -> str:
    """The file with the names of YOLO's classes; made from a list of names if there is no YAML."""
    for place in (folder, folder.parent, folder.parent.parent):
        for name in _YOLO_NAMES:
            path = place / name
            if not path.is_file():
                continue
            if path.suffix.startswith(".y"):
                return str(path)
            names = path.read_text(encoding="utf-8-sig").split("\n")
            lines = [f"  - {name.strip()!r}" for name in names if name.strip()]
            (scratch / "data.yaml").write_text("\n".join(["names:", *lines]), encoding="utf-8")
            return str(scratch / "data.yaml")
    raise AnnotationFormatError(
        folder, "classes", f"YOLO's names of classes are missing: one of {', '.join(_YOLO_NAMES)}"
    )


def _import_supervision() -> Any:
    try:
        import supervision
    except ImportError as error:
        raise ImportError(
            "A folder of annotation files is read with supervision: pip install 'srn_d2[formats]'"
        ) from error
    return supervision


def _to_table(dataset: Any, source: str, image_root: Path, annotated: set[str]) -> FaceTable:
    names, boxes, image_of, classes = [], [], [], []
    for row, path in enumerate(sorted(dataset.image_paths)):
        found = dataset.annotations[path]
        names.append(os.path.relpath(path, image_root))
        boxes.append(np.asarray(found.xyxy, dtype=np.float64).reshape(-1, 4))
        image_of.append(np.full(len(found), row))
        classes.append(np.zeros(0, int) if found.class_id is None else found.class_id)
    num_bare = sum(Path(name).stem not in annotated for name in names)
    joined = np.concatenate(boxes) if boxes else np.zeros((0, 4))
    return FaceTable(
        source,
        names,
        list(names),
        joined,
        np.concatenate(image_of) if image_of else np.zeros(0, int),
        np.zeros(len(joined), dtype=bool),
        {"class": np.concatenate(classes) if classes else np.zeros(0, int)},
        box_format="xyxy",
        notes=[f"{num_bare} images without an annotation file, taken as without faces"]
        if num_bare
        else [],
    )
