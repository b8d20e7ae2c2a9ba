"""The toy data set: what is drawn, and how it gets onto the disk."""

import hashlib
import multiprocessing
import signal
import sys
import time

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srn_d2.data import register_builtin_datasets
from srn_d2.data.datasets import toy_faces
from srn_d2.data.datasets.toy_drawing import Canvas, Head, HeadPainter, rectangle
from srn_d2.data.datasets.toy_scenes import MAX_FACE, MIN_FACE, SCENE_KINDS, draw_scene
from srn_d2.data.datasets.wider_face import format_wider_annotations, parse_wider_annotations

WHOLE_SET = dict(toy_faces.TOY_SPLITS)
# Of the 200 pictures for training, those that are drawn here: each is a function of its number.
NUM_TRAIN = 92


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """$DETECTRON2_DATASETS/toyface with the pictures for validation and the first for training."""
    root = tmp_path_factory.mktemp("datasets") / "toyface"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(toy_faces.TOY_SPLITS, "train", NUM_TRAIN)
        toy_faces.ensure_toy_faces(root)
    return root


@pytest.fixture
def few_pictures(monkeypatch):
    for split, number in (("train", 8), ("val", 4)):
        monkeypatch.setitem(toy_faces.TOY_SPLITS, split, number)


def hashes(folder, pattern="*"):
    """Relative path -> hash, of the files below a folder."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(SCENE_KINDS), st.integers(0, 2**32))
def test_scene(kind, seed):
    image, faces = draw_scene(kind, np.random.default_rng(seed))
    height, width, channels = image.shape
    assert image.dtype == np.uint8
    assert channels == 3
    assert 320 <= min(height, width) <= max(height, width) <= 448
    assert len(faces) <= kind.num_faces[1]
    for face in faces:
        assert 0 <= face.x < face.x + face.w <= width
        assert 0 <= face.y < face.y + face.h <= height
        assert MIN_FACE <= max(face.w, face.h) <= MAX_FACE
    again, faces_again = draw_scene(kind, np.random.default_rng(seed))
    assert np.array_equal(image, again)
    assert faces == faces_again


def test_polygon_lies_where_its_corners_are():
    canvas = Canvas(40, 40, (0, 0, 0))
    canvas.polygon(rectangle(10, 12, 20, 25), (240, 240, 240), owner=3)
    image, owner = canvas.finish()
    assert (image[12:25, 10:20] == 240).all()
    for pixels in (image.max(axis=2), owner):
        rows, columns = np.nonzero(pixels)
        assert 9 <= columns.min() <= columns.max() <= 20
        assert 11 <= rows.min() <= rows.max() <= 25


@settings(max_examples=15, deadline=None)
@given(
    st.floats(8, 150), st.floats(-50, 50), st.floats(-1, 1), st.floats(0, 0.3), st.integers(0, 999)
)
def test_outline_is_tight_around_the_drawn_face(size, tilt, yaw, jaw, seed):
    canvas = Canvas(200, 200, (90, 120, 150))
    head = Head(100.0, 100.0, size, tilt, yaw, jaw)
    HeadPainter(canvas, head, 1, np.random.default_rng(seed)).paint()
    _, owner = canvas.finish()
    rows, columns = np.nonzero(owner == 1)
    drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    outline = [*head.outline.min(axis=0), *head.outline.max(axis=0)]
    np.testing.assert_allclose(drawn, outline, atol=1.5)


@pytest.mark.slow
def test_the_same_bytes_each_time(root, tmp_path, few_pictures):
    assert WHOLE_SET == {"train": 200, "val": 50}
    toy_faces.draw_toy_split(tmp_path, "val")
    whole = toy_faces.toy_folder(root)
    of_all, of_few = (toy_faces.annotation_file(x, "val").read_text() for x in (whole, tmp_path))
    assert of_all.startswith(of_few)
    again, pictures = hashes(tmp_path, "*.jpg"), hashes(whole, "*.jpg")
    assert len(again) == 4
    assert len(pictures) == NUM_TRAIN + 50
    assert len(set(pictures.values())) == len(pictures)  # no picture twice
    assert again == {name: pictures[name] for name in again}


@pytest.mark.parametrize(("split", "number"), [("train", NUM_TRAIN), ("val", 50)])
@pytest.mark.slow
def test_the_set_through_the_parser(root, split, number):
    text = toy_faces.annotation_file(toy_faces.toy_folder(root), split).read_text()
    images = parse_wider_annotations(text)
    assert format_wider_annotations(images) == text
    dataset = toy_faces.load_toy_faces(root, split)
    assert len(dataset) == len(images) == number
    for image, record in zip(dataset, images, strict=True):
        assert image["image_id"] == record.image_id
        with Image.open(image["file_name"]) as picture:
            assert (picture.format, picture.mode) == ("JPEG", "RGB")
            assert all(
                f.x + f.w <= picture.width and f.y + f.h <= picture.height for f in record.faces
            )


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.slow
def test_the_set_is_varied(root, split):
    dataset = toy_faces.load_toy_faces(root, split)
    annotations = [a for image in dataset for a in image["annotations"]]
    sizes = np.array([max(a["bbox"][2:]) for a in annotations])
    assert sizes.min() >= MIN_FACE
    assert sizes.min() < 12
    assert sizes.max() > 250
    assert 20 <= np.median(sizes) <= 40
    counts = [len(image["annotations"]) for image in dataset]
    assert min(counts) == 0
    assert max(counts) >= 36
    for attribute, values in (("blur", 3), ("expression", 2), ("illumination", 2), ("invalid", 2),
                              ("occlusion", 3), ("pose", 2)):  # fmt: skip
        assert {a[attribute] for a in annotations} == set(range(values))
    assert 0 < np.mean([a["ignore"] for a in annotations]) < 0.05


def test_registered(tmp_path, monkeypatch, few_pictures):
    with monkeypatch.context() as context:
        context.setenv("DETECTRON2_DATASETS", str(tmp_path))
        register_builtin_datasets()
        assert not list(tmp_path.iterdir())  # drawn on first use, not before
        assert len(DatasetCatalog.get("toyface_val")) == 4
        assert len(DatasetCatalog.get("toyface_train")) == 8
        metadata = MetadataCatalog.get("toyface_val")
        assert metadata.evaluator_type == "coco_face"
        assert DatasetCatalog.get("toyface_val")[0]["file_name"].startswith(metadata.image_root)
    register_builtin_datasets()


def test_set_that_is_there_is_not_drawn_again(tmp_path, few_pictures):
    folder = toy_faces.ensure_toy_faces(tmp_path)
    mark = folder / "mark"
    mark.touch()
    assert toy_faces.ensure_toy_faces(tmp_path) == folder
    assert mark.exists()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match=r"file/toyface/v\d+.*DETECTRON2_DATASETS"):
        toy_faces.ensure_toy_faces(tmp_path / "file" / "toyface")


def test_failure_leaves_nothing(tmp_path, monkeypatch, few_pictures):
    def fail(*args):
        raise OSError("no space left on device")

    with monkeypatch.context() as context:
        context.setattr(toy_faces, "write_wider_annotations", fail)
        with pytest.raises(OSError, match="no space left"):
            toy_faces.ensure_toy_faces(tmp_path)
    assert not list(tmp_path.iterdir())


def draw_few(root, number):
    """Draw a set of ``number`` + 4 pictures, as a training process would; never returns."""
    toy_faces.TOY_SPLITS.update(train=number, val=4)
    folder = toy_faces.ensure_toy_faces(root)
    sys.exit(folder != toy_faces.toy_folder(root))


def start(root, number):
    """A process of its own that draws; forked, it need not import anything again."""
    process = multiprocessing.get_context("fork").Process(target=draw_few, args=(root, number))
    process.start()
    return process


def test_two_processes_at_once(tmp_path):
    processes = [start(tmp_path / "a", 12) for _ in range(2)]
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    folder = toy_faces.toy_folder(tmp_path / "a")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert len(hashes(folder)) == 12 + 4 + 2
    toy_faces.load_toy_faces(tmp_path / "a", "val")


def test_killed_process_leaves_no_half_set(tmp_path, few_pictures):
    process = start(tmp_path, 2000)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("*.jpg")):
        assert time.monotonic() < deadline
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not toy_faces.toy_folder(tmp_path).exists()
    assert len(toy_faces.load_toy_faces(tmp_path, "train")) == 8
