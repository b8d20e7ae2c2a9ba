"""WIDER FACE's annotation text, its loader and its registration."""

import logging
import re

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from hypothesis import given
from hypothesis import strategies as st

from srn_d2.data import register_builtin_datasets
from srn_d2.data.datasets.builtin import register_wider_face
from srn_d2.data.datasets.wider_face import (
    WiderFace,
    WiderFaceFormatError,
    WiderImage,
    format_wider_annotations,
    load_wider_face,
    load_wider_face_test,
    parse_wider_annotations,
    parse_wider_filelist,
    write_wider_annotations,
)

coordinates = st.integers(-9999, 9999)
faces = st.builds(WiderFace, *[coordinates] * 4, *[st.integers(0, n) for n in (2, 1, 1, 1, 2, 1)])
names = st.from_regex(
    r"[0-9]{1,2}--[A-Z][a-z_]{0,8}/[\w][\w .()é-]{0,12}\.(jpg|JPG|png)", fullmatch=True
)
image_lists = st.lists(
    st.builds(WiderImage, names, st.lists(faces, max_size=5).map(tuple)),
    max_size=6,
    unique_by=lambda image: image.image_id,
)
# At least one record, hence at least three lines.
some_images = image_lists.filter(bool)


def line_of(error: WiderFaceFormatError) -> int:
    """The line that the message names, after the file's name."""
    return int(re.match(r"a\.txt, line (\d+): ", str(error)).group(1))


@given(image_lists)
def test_parse_inverts_format(images):
    assert parse_wider_annotations(format_wider_annotations(images)) == images


@given(image_lists)
def test_line_ends_and_blanks_do_not_matter(images):
    text = format_wider_annotations(images)
    assert parse_wider_annotations(text.replace("\n", "  \r\n")) == images
    assert parse_wider_annotations(text.replace("\n", "\n\t\n")) == images
    assert parse_wider_annotations(text.replace(" \n", "\n").rstrip("\n")) == images


@given(image_lists)
def test_line_of_zeros_may_be_absent(images):
    text = format_wider_annotations(images)
    without = text.replace("\n0\n0 0 0 0 0 0 0 0 0 0 \n", "\n0\n")
    assert parse_wider_annotations(without) == images


@given(some_images, st.data())
def test_error_names_the_line_that_is_garbage(images, data):
    lines = format_wider_annotations(images).splitlines()
    damaged = data.draw(st.integers(0, len(lines) - 1))
    lines[damaged] = data.draw(
        st.sampled_from(["?!", "-1", "1 2 3", "nan", "0 0 0 0 0 0 0 0 0 0.5"])
    )
    with pytest.raises(WiderFaceFormatError) as error:
        parse_wider_annotations("\n".join(lines), "a.txt")
    assert line_of(error.value) == damaged + 1


@given(some_images, faces)
def test_error_names_the_last_line_of_a_file_that_is_cut(images, face):
    last = images[-1]
    images[-1] = last._replace(faces=(*last.faces, face))
    lines = format_wider_annotations(images).splitlines()
    for num_cut in range(1, len(images[-1].faces) + 2):
        kept = lines[:-num_cut]
        with pytest.raises(WiderFaceFormatError, match="file ends") as error:
            parse_wider_annotations("\n".join(kept), "a.txt")
        assert line_of(error.value) == len(kept)


@given(some_images, faces)
def test_wrong_count_is_found_at_the_next_record(images, face):
    first = WiderImage("first.jpg", (face,))
    text = format_wider_annotations([first, *images])
    for count, line in ((0, 3), (2, 4)):
        wrong = text.replace("first.jpg\n1\n", f"first.jpg\n{count}\n")
        if count == 0 and face == WiderFace(0, 0, 0, 0):
            continue  # the quirk of the official files
        with pytest.raises(WiderFaceFormatError) as error:
            parse_wider_annotations(wrong, "a.txt")
        assert line_of(error.value) == line


def test_all_ten_attributes_are_kept():
    (image,) = parse_wider_annotations("e/a.jpg\n1\n10 20 30 40 2 1 1 1 2 1 \n")
    assert image.image_id == "e/a"
    assert image.faces[0]._asdict() == {
        "x": 10, "y": 20, "w": 30, "h": 40, "blur": 2, "expression": 1, "illumination": 1,
        "invalid": 1, "occlusion": 2, "pose": 1,
    }  # fmt: skip


def test_degenerate_boxes_are_kept_by_the_parser():
    (image,) = parse_wider_annotations(
        "a.jpg\n3\n1 2 0 4 0 0 0 0 0 0\n1 2 3 -4 0 0 0 0 0 0\n1 2 3 4 0 0 0 0 0 0\n"
    )
    assert [face.is_degenerate for face in image.faces] == [True, True, False]


def test_image_listed_twice():
    with pytest.raises(WiderFaceFormatError, match=r"line 4: .*listed before, in line 1"):
        parse_wider_annotations("a.jpg\n0\n0 0 0 0 0 0 0 0 0 0\na.jpg\n0\n")


def test_filelist():
    images = parse_wider_filelist("0--Parade/a b.jpg \r\n\n0--Parade/c.jpg")
    assert images == [WiderImage("0--Parade/a b.jpg", ()), WiderImage("0--Parade/c.jpg", ())]
    with pytest.raises(WiderFaceFormatError, match="line 2"):
        parse_wider_filelist("a.jpg\n3\n")


@pytest.fixture
def small_set(tmp_path):
    """Two images (empty files: the loader must not open them) and their annotations."""
    (tmp_path / "images" / "0--Parade").mkdir(parents=True)
    images = [
        WiderImage(
            "0--Parade/a.jpg", (WiderFace(1, 2, 30, 40, 2, 1, 1, 1, 2, 1), WiderFace(5, 6, 0, 8))
        ),
        WiderImage("0--Parade/b.jpg", ()),
    ]
    for image in images:
        (tmp_path / "images" / image.name).touch()
    write_wider_annotations(tmp_path / "a.txt", images)
    return tmp_path


def test_load(small_set, caplog, monkeypatch):
    # A logger that another test has set up may not hand its records on.
    monkeypatch.setattr(logging.getLogger("srn_d2"), "propagate", True)
    caplog.set_level(logging.INFO, logger="srn_d2")
    first, second = load_wider_face(small_set / "images", small_set / "a.txt")
    assert first == {
        "file_name": str(small_set / "images/0--Parade/a.jpg"),
        "image_id": "0--Parade/a",
        "annotations": [
            {
                "bbox": [1.0, 2.0, 30.0, 40.0], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0,
                "iscrowd": 0, "ignore": True, "blur": 2, "expression": 1, "illumination": 1,
                "invalid": 1, "occlusion": 2, "pose": 1,
            }
        ],
    }  # fmt: skip
    assert second["annotations"] == []
    load_wider_face(small_set / "images", small_set / "a.txt")
    messages = [m for m in caplog.messages if str(small_set) in m]
    assert len(messages) == 1  # once, though loaded twice
    assert "2 images, 0 faces, 1 ignored, 1 dropped (1 no width or no height)" in messages[0]


def test_a_second_load_shares_nothing_and_sees_a_changed_file(small_set):
    first = load_wider_face(small_set / "images", small_set / "a.txt")
    first[0]["annotations"][0]["bbox"][0] = -7.0
    second = load_wider_face(small_set / "images", small_set / "a.txt")
    assert second[0]["annotations"][0]["bbox"] == [1.0, 2.0, 30.0, 40.0]
    text = (small_set / "a.txt").read_text()
    (small_set / "a.txt").write_text(text.replace("1 2 30 40", "1 2 30 41"))
    third = load_wider_face(small_set / "images", small_set / "a.txt")
    assert third[0]["annotations"][0]["bbox"] == [1.0, 2.0, 30.0, 41.0]


def test_load_file_that_is_not_utf8(small_set):
    """Such as a text with a byte order mark, or a name in Latin-1; a binary file fails."""
    annotations = small_set / "a.txt"
    content = annotations.read_bytes()
    annotations.write_bytes(b"\xef\xbb\xbf" + content)
    assert len(load_wider_face(small_set / "images", annotations)) == 2
    annotations.write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF\n" + content)
    with pytest.raises(WiderFaceFormatError, match="line 1: expected an image name"):
        load_wider_face(small_set / "images", annotations)


def test_missing_images_are_counted_and_named(small_set):
    images = [WiderImage(f"0--Parade/{i}.jpg", ()) for i in range(7)]
    write_wider_annotations(small_set / "a.txt", images)
    (small_set / "images/0--Parade/3.jpg").touch()
    with pytest.raises(FileNotFoundError, match="6 of 7 images are missing") as error:
        load_wider_face(small_set / "images", small_set / "a.txt")
    message = str(error.value)
    assert str(small_set / "images/0--Parade/0.jpg") in message
    assert "3.jpg" not in message
    assert "datasets/README.md" in message
    assert len(message.splitlines()) == 1 + 5 + 1  # five of them and "..."


def test_missing_data_set_names_the_path(tmp_path):
    register_wider_face(tmp_path / "widerface")
    try:
        for split in ("train", "val", "test"):
            with pytest.raises(FileNotFoundError, match=r"datasets/README\.md") as error:
                DatasetCatalog.get(f"widerface_{split}")
            file = MetadataCatalog.get(f"widerface_{split}").annotation_file
            assert file.startswith(str(tmp_path / "widerface" / "wider_face_split"))
            assert file in str(error.value)
    finally:
        register_builtin_datasets()


def test_registration_follows_the_environment(small_set, monkeypatch):
    root = small_set / "widerface"
    root.mkdir()
    (small_set / "images").rename(small_set / "moved")
    (root / "WIDER_test").mkdir()
    (small_set / "moved").rename(root / "WIDER_test" / "images")
    (root / "wider_face_split").mkdir()
    (root / "wider_face_split/wider_face_test_filelist.txt").write_text("0--Parade/a.jpg\n")
    with monkeypatch.context() as context:
        context.setenv("DETECTRON2_DATASETS", str(small_set))
        register_builtin_datasets()
        register_builtin_datasets()  # a second time is no error
        metadata = MetadataCatalog.get("widerface_test")
        assert metadata.thing_classes == ["face"]
        assert metadata.evaluator_type == "widerface"
        assert metadata.ground_truth_dir == str(root / "ground_truth")
        (image,) = DatasetCatalog.get("widerface_test")
        assert image["annotations"] == []
        assert [image] == load_wider_face_test(metadata.image_root, metadata.annotation_file)
    register_builtin_datasets()


# Of the nine events that most of the shared images show, and of the 52 others: the number of
# images and of lines of ten integers, less those that stand for "no face", and of empty boxes.
SEEN_EVENTS = ("0", "1", "2", "3", "4", "5", "13", "19", "20")
REAL_COUNTS = {
    "train": {True: (3048, 62794, 10), False: (396, 4339, 1)},
    "val": {True: (197, 2158, 1), False: (156, 1945, 2)},
}


def is_seen(image_id: str) -> bool:
    return image_id.split("--")[0] in SEEN_EVENTS


@pytest.mark.parametrize("split", REAL_COUNTS)
def test_real_files(shared_dir, split):
    root = shared_dir / "widerface"
    file = root / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt"
    text = file.read_text()
    images = parse_wider_annotations(text, str(file))
    assert format_wider_annotations(images) == text
    dataset = load_wider_face(root / f"WIDER_{split}" / "images", file)
    for seen, (num_images, num_faces, num_degenerate) in REAL_COUNTS[split].items():
        part = [image for image in images if is_seen(image.image_id) == seen]
        assert len(part) == num_images
        assert sum(len(image.faces) for image in part) == num_faces
        loaded = [image for image in dataset if is_seen(image["image_id"]) == seen]
        assert len({image["image_id"] for image in loaded}) == len(loaded) == num_images
        annotations = [a for image in loaded for a in image["annotations"]]
        assert len(annotations) == num_faces - num_degenerate
        assert sum(a["ignore"] for a in annotations) == sum(a["invalid"] for a in annotations) > 0


@pytest.mark.parametrize(("name", "seen"), [("seen", True), ("other", False)])
def test_real_lists_are_of_their_events(shared_dir, name, seen):
    folder = shared_dir / "widerface" / "wider_face_split"
    listed = (folder / f"val_{name}_events.txt").read_text().split()
    images = parse_wider_annotations((folder / "wider_face_val_bbx_gt.txt").read_text())
    wanted = [image.image_id for image in images if is_seen(image.image_id) == seen]
    assert sorted(path.removesuffix(".jpg") for path in listed) == sorted(wanted)


def test_real_file_damaged(shared_dir):
    """Every 100th line of the real file in turn is cut after its first three characters."""
    file = shared_dir / "widerface" / "wider_face_split" / "wider_face_val_bbx_gt.txt"
    lines = file.read_text().splitlines()
    for number in range(1, len(lines) + 1, 100):
        damaged = [*lines[: number - 1], lines[number - 1][:3] + "?", *lines[number:]]
        with pytest.raises(WiderFaceFormatError) as error:
            parse_wider_annotations("\n".join(damaged), "a.txt")
        assert line_of(error.value) == number
