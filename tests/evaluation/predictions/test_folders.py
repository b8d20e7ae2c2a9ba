"""Folders of predictions in any layout, what is said of unreadable ones, CSV files, sizes."""

import numpy as np
import pytest
from PIL import Image

from srn_d2.evaluation.predictions.column_checks import better_reading
from srn_d2.evaluation.predictions.columns import XYXY, ColumnsError
from srn_d2.evaluation.predictions.csv_files import CsvFormatError
from srn_d2.evaluation.predictions.folders import UnreadablePredictionsError
from srn_d2.evaluation.predictions.image_names import ImageNames
from srn_d2.evaluation.predictions.image_sizes import size_reader
from srn_d2.evaluation.predictions.sources import read_source
from srn_d2.evaluation.widerface.ap import evaluate_subset
from srn_d2.evaluation.widerface.assignment import assign_detections
from srn_d2.evaluation.widerface.prediction_files import format_predictions

NAMES = {"0--A/x": "0--A/x.jpg", "0--A/y": "0--A/y.jpg", "1--B/z": "1--B/z.jpg"}
IMAGES = ImageNames(NAMES)
BOXES = {
    "0--A/x": [[10.0, 20.0, 30.0, 40.0, 0.75], [200.0, 25.0, 42.0, 31.0, 0.5]],
    "0--A/y": [[5.0, 6.0, 70.0, 80.0, 0.25]],
    "1--B/z": [[15.0, 60.0, 20.0, 80.0, 0.875]],
}


def write(folder, layout="{event}/{name}.txt", boxes=BOXES, form=format_predictions):
    for image_id, rows in boxes.items():
        event, name = image_id.split("/")
        path = folder / layout.format(event=event, name=name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(form(image_id, rows))
    return folder


def boxes_of(found):
    return {key: boxes.tolist() for key, boxes in found.predictions.items()}


@pytest.mark.parametrize(
    "layout",
    [
        "{event}/{name}.txt",
        "{name}.txt",
        "{event}/{name}.jpg.txt",
        "{name}.jpg.txt",
        "{event}/{name}.TXT",
        "run/predictions/{event}/{name}.txt",
        "{event}_{name}.txt",
        "A/{name}.txt",
    ],
)
def test_layouts(tmp_path, layout):
    found = read_source(write(tmp_path, layout), IMAGES)
    assert boxes_of(found) == BOXES
    is_official = layout == "{event}/{name}.txt"
    assert (found.warnings() == []) == is_official
    if not is_official:
        with pytest.raises(UnreadablePredictionsError):
            read_source(tmp_path, IMAGES, strict=True)


def test_one_folder_too_low(tmp_path):
    found = read_source(write(tmp_path) / "0--A", IMAGES)
    assert list(found.predictions) == ["0--A/x", "0--A/y"]
    assert found.missing == ("1--B/z",)


def test_files_of_no_image_are_named_where_images_have_none(tmp_path):
    write(tmp_path, boxes={"0--A/x": BOXES["0--A/x"], "0--A/typo": BOXES["0--A/y"]})
    warnings = read_source(tmp_path, IMAGES).warnings()
    assert warnings[0].startswith("2 images have no file")
    assert "1 further files are of no evaluated image: 0--A" in warnings[1]


def test_files_that_may_be_of_two_images_are_not_read(tmp_path):
    write(tmp_path, "one/{name}.txt")
    write(tmp_path, "two/{name}.txt", {"0--A/x": BOXES["0--A/x"]})
    found = read_source(tmp_path, IMAGES)
    assert list(found.predictions) == ["0--A/y", "1--B/z"]
    assert any("2 files may be of several images, or several of one" in w for w in found.warnings())


def test_folder_of_detect(tmp_path):
    (tmp_path / "faces.json").write_text(
        '[{"file_name": "0--A/x.jpg", "faces": [{"bbox": [1, 2, 11, 22], "score": 0.5}]}]'
    )
    assert boxes_of(read_source(tmp_path, IMAGES)) == {"0--A/x": [[1, 2, 10, 20, 0.5]]}


# --- what cannot be read ------------------------------------------------------------------------


def refused(path, *, images=IMAGES, **options):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 -- the message is what is tested
        read_source(path, images, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_first_fault_and_kinds(tmp_path):
    write(tmp_path, boxes={"0--A/x": [[1, 2, 3, 4]], "0--A/y": [[1, 2, 3, 4]]})
    (tmp_path / "1--B").mkdir()
    (tmp_path / "1--B" / "z.txt").write_text("z\n2\n1 2 3 4 0.5\n")
    message = refused(tmp_path)
    assert "none of the 3 files" in message
    assert "0--A/x.txt:3: a box without a score: '1 2 3 4'" in message.replace("\\", "/")
    assert "2 x a box without a score; 1 x the file ends after 1 of 2 boxes" in message


def test_what_is_there_instead(tmp_path):
    (tmp_path / "a.xml").touch()
    (tmp_path / "b.xml").touch()
    message = refused(tmp_path)
    assert "it holds 2 files (2 .xml): a.xml; b.xml" in message
    (tmp_path / "empty").mkdir()
    assert "is empty" in refused(tmp_path / "empty")
    assert "unpack it" in refused(_touch(tmp_path / "p.zip"))
    assert "predictions are a folder" in refused(_touch(tmp_path / "p.pkl"))
    with pytest.raises(FileNotFoundError, match=r"nowhere is not there"):
        read_source(tmp_path / "nowhere", IMAGES)


def _touch(path):
    path.touch()
    return path


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (lambda i, rows: f"{i}\n2\n1 2 3 4 0.5\n", "3 of 3 files or records are malformed"),
        (lambda i, rows: format_predictions(i, [[1, 2, 3, 4, float("nan")]]), "3 of 3 scores are"),
        (lambda i, rows: format_predictions(i, []), "there is not a single detection"),
        (lambda i, rows: f"{i}\n0\n1 2 3 4 0.5\n", "the counts are wrong"),
        (format_predictions, ""),
    ],
)
def test_main_fault(tmp_path, form, expected):
    write(tmp_path, form=form)
    if expected.startswith("3 of 3 files"):
        (tmp_path / "1--B" / "z.txt").write_text("z\n1\n1 2 3 4 0.5\n")
        expected = expected.replace("3 of 3", "2 of 3")
    assert expected in (fault := read_source(tmp_path, IMAGES).main_fault())
    assert bool(fault) == bool(expected)


# --- columns ------------------------------------------------------------------------------------


def test_fractions_and_yolo(tmp_path):
    root = tmp_path / "images"
    for name in NAMES.values():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (400, 200)).save(root / name)
    images = ImageNames.of_ids(NAMES, size_reader({i: i for i in NAMES}, root))
    size = np.array([400, 200, 400, 200, 1])
    shares = {i: (np.array(rows) / size).tolist() for i, rows in BOXES.items()}
    found = read_source(write(tmp_path / "shares", boxes=shares), images)
    assert found.are_fractions
    for image_id, rows in BOXES.items():
        np.testing.assert_allclose(found.predictions[image_id], rows)

    def yolo(image_id, rows):
        return "".join(f"0 {x + w / 2} {y + h / 2} {w} {h} {s}\n" for x, y, w, h, s in rows)

    folder = write(tmp_path / "yolo", "{name}.txt", shares, yolo)
    found = read_source(folder, images)
    for image_id, rows in BOXES.items():
        np.testing.assert_allclose(found.predictions[image_id], rows)
    with pytest.raises(ColumnsError, match="give --image-root"):
        read_source(folder, IMAGES)

    def labels(image_id, rows):
        return "".join(f"0 {x + w / 2} {y + h / 2} {w} {h}\n" for x, y, w, h, _ in rows)

    write(tmp_path / "labels", "{name}.txt", shares, labels)
    assert "without a score" in refused(tmp_path / "labels")


def test_corners_are_told_by_ap(tmp_path):
    corners = {i: [[x, y, x + w, y + h, s] for x, y, w, h, s in rows] for i, rows in BOXES.items()}
    truth = {i: np.array(rows)[:, :4].astype(np.int32) for i, rows in BOXES.items()}
    counted = {i: np.ones(len(rows), bool) for i, rows in truth.items()}

    def measure(predictions, images):
        return evaluate_subset(assign_detections(predictions, truth, (0.5,), images), counted).ap

    found = read_source(write(tmp_path, boxes=corners), IMAGES)
    ap = measure(found.predictions, list(NAMES))
    better = better_reading(found, IMAGES, ap, measure)
    assert better.better == XYXY
    assert better.better_ap == pytest.approx(1)
    assert "--columns=x1,y1,x2,y2,score" in str(better)
    found = read_source(tmp_path, IMAGES, columns=XYXY)
    assert boxes_of(found) == BOXES
    assert better_reading(found, IMAGES, measure(found.predictions, list(NAMES)), measure) is None


# --- CSV ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv(tmp_path, separator):
    lines = [["file_name", "x1", "y1", "x2", "y2", "score"]]
    for image_id, rows in BOXES.items():
        lines += [[f"{image_id}.jpg", x, y, x + w, y + h, s] for x, y, w, h, s in rows]
    text = "\n".join(separator.join(map(str, line)) for line in lines)
    for decimal in (".", "," if separator != "," else "."):
        path = tmp_path / "p.csv"
        path.write_text(text.replace(".0", f"{decimal}0").replace("0.", f"0{decimal}"))
        assert boxes_of(read_source(path, IMAGES)) == BOXES


def test_csv_with_faults(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("image,xmin,ymin,width,height,conf\n0--A/x.jpg,1,2,3,4,0.5\nx,1,2,3,four,0.5\n")
    found = read_source(path, IMAGES)
    assert boxes_of(found)["0--A/x"] == [[1, 2, 3, 4, 0.5]]
    assert "p.csv:3: expected a number as h, found 'four'" in found.warnings()[0]
    path.write_text("a,b\n1,2\n")
    with pytest.raises(CsvFormatError, match=r"line 1: expected a header such as file_name"):
        read_source(path, IMAGES)
    path.write_text("file,x,y,w,h,score\nother.jpg,1,2,3,4,0.5\n")
    assert "none of its 1 images is annotated: other.jpg" in refused(path)
