"""Submission folders: numbers, complete files, and runs that resume a folder."""

import json

import numpy as np
import pytest
import torch

from srn_d2.evaluation.predictions.folders import read_predictions
from srn_d2.evaluation.widerface.prediction_files import write_predictions
from srn_d2.evaluation.widerface.submission import (
    NonFiniteDetectionsError,
    SubmissionWriter,
    submission_settings,
)

SETTINGS = {"dataset": "widerface_val", "TEST.DETECTIONS_PER_IMAGE": 750}
IMAGE_ID = "0--Parade/0_Parade_marchingband_1_465"


@pytest.fixture
def writer(tmp_path):
    return SubmissionWriter(tmp_path / "out", SETTINGS)


def random_detections(n, seed=0):
    """Boxes (n, 4), XYXY, and scores (n,), float32, best first."""
    rng = torch.Generator().manual_seed(seed)
    corners = torch.rand((n, 2, 2), generator=rng) * 900
    boxes = torch.cat([corners.amin(1), corners.amax(1)], dim=1)
    return boxes, torch.rand(n, generator=rng).sort(descending=True).values


def written(writer, image_id=IMAGE_ID):
    return (writer.folder / f"{image_id}.txt").read_bytes().decode()


# --- numbers ------------------------------------------------------------------------------------


def test_float32_numbers_come_back_exactly(writer):
    boxes, scores = random_detections(200)
    boxes[0] = torch.tensor([0.1, -1e-7, 1023.9999, 3e5])
    scores[-1] = 1e-12
    writer.write(IMAGE_ID, boxes, scores)
    found = read_predictions(writer.folder, [IMAGE_ID])
    assert found.warnings() == []
    x, y, w, h, score = found.predictions[IMAGE_ID].T
    np.testing.assert_array_equal(x, boxes[:, 0].double())
    np.testing.assert_array_equal(y, boxes[:, 1].double())
    np.testing.assert_array_equal((x + w).astype(np.float32), boxes[:, 2])
    np.testing.assert_array_equal((y + h).astype(np.float32), boxes[:, 3])
    np.testing.assert_array_equal(score, scores.double())


def test_the_files_are_those_of_the_evaluator(writer, tmp_path):
    boxes, scores = random_detections(20)
    writer.write(IMAGE_ID, boxes, scores)
    xyxy = boxes.double().numpy()
    rows = np.column_stack([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2], scores.double()])
    write_predictions(tmp_path / "evaluator", {IMAGE_ID: rows})
    assert written(writer) == (tmp_path / "evaluator" / f"{IMAGE_ID}.txt").read_text()


def test_integers_are_rounded_as_the_released_code_rounds_them(tmp_path):
    writer = SubmissionWriter(tmp_path / "out", SETTINGS, integer_boxes=True)
    boxes = np.array(
        [
            [10.4, 20.6, 29.9, 49.2],  # w + 1 = 20.5, h + 1 = 29.6
            [10.5, 11.5, 12.0, 14.0],  # halves to even: x, y; w + 1 = 2.5, h + 1 = 3.5
            [-0.4, 0.0, 0.0, 7.0],
        ]
    )
    writer.write(IMAGE_ID, boxes, np.array([0.98765, 0.5, 0.0004]))
    lines = ["10 21 20 30 0.988", "10 12 2 4 0.5", "0 0 1 8 0.0"]
    assert written(writer) == "\n".join([IMAGE_ID, "3", *lines, ""])


def test_an_image_without_detections_has_a_valid_file(writer):
    writer.write(IMAGE_ID, torch.zeros(0, 4), torch.zeros(0))
    assert written(writer) == f"{IMAGE_ID}\n0\n"
    assert writer.is_done(IMAGE_ID)
    found = read_predictions(writer.folder, [IMAGE_ID])
    assert found.predictions[IMAGE_ID].shape == (0, 5)
    assert found.warnings() == []


@pytest.mark.parametrize("integer_boxes", [False, True])
def test_what_is_not_finite_is_refused(tmp_path, integer_boxes):
    writer = SubmissionWriter(tmp_path / "out", SETTINGS, integer_boxes=integer_boxes)
    boxes, scores = random_detections(3)
    scores[1] = float("nan")
    boxes[2, 0] = float("inf")
    with pytest.raises(NonFiniteDetectionsError, match=f"{IMAGE_ID}: 2 of 3"):
        writer.write(IMAGE_ID, boxes, scores)
    assert not writer.folder.exists()


def test_names_that_are_not_utf8_survive(writer):
    image_id = "0--Parade/caf\udce9"
    writer.write(image_id, *random_detections(2))
    assert writer.is_done(image_id)
    assert b"/caf\xe9\n2\n" in (writer.folder / f"{image_id}.txt").read_bytes()


@pytest.mark.parametrize("image_id", ["image", "a/b/c", "/image", 7])
def test_only_the_official_layout_has_submissions(writer, image_id):
    with pytest.raises(ValueError, match="is not event/image"):
        writer.write(image_id, *random_detections(1))


# --- what is done -------------------------------------------------------------------------------


def test_every_cut_off_file_is_to_be_done_again(writer):
    assert not writer.is_done(IMAGE_ID)
    writer.write(IMAGE_ID, *random_detections(2))
    assert writer.is_done(IMAGE_ID)
    path = writer.folder / f"{IMAGE_ID}.txt"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert not writer.is_done(IMAGE_ID), f"cut off at byte {length}"
    writer.write(IMAGE_ID, *random_detections(2))
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "text", [f"{IMAGE_ID}\n0\n1 2 3 4 0.5\n", "0--Parade/other\n0\n", "no such file\n", "\x00\x01"]
)
def test_foreign_files_are_not_done(writer, text):
    writer.write(IMAGE_ID, *random_detections(2))
    (writer.folder / f"{IMAGE_ID}.txt").write_text(text)
    assert not writer.is_done(IMAGE_ID)


def test_the_folder_holds_events_and_images_only(writer):
    """Evaluation scripts list it, and take every entry for an event and every file for an image."""
    writer.write(IMAGE_ID, *random_detections(2))
    draft = writer.folder / "0--Parade" / ".x.0123456789abcdef.partial.txt"
    draft.write_text("what a killed run leaves behind")
    again = SubmissionWriter(writer.folder, SETTINGS)
    assert [path.name for path in writer.folder.iterdir()] == ["0--Parade"]
    assert [path.name for path in (writer.folder / "0--Parade").iterdir()] == [
        "0_Parade_marchingband_1_465.txt"
    ]
    assert again.settings_file == writer.folder.parent / "out.json"


# --- runs that resume a folder ------------------------------------------------------------------


def test_a_run_with_the_same_settings_goes_on(writer):
    writer.write(IMAGE_ID, *random_detections(2))
    as_tuples = {**SETTINGS, "size": (1, [2, float("inf")])}
    assert SubmissionWriter(writer.folder, dict(reversed(SETTINGS.items()))).is_done(IMAGE_ID)
    other = writer.folder.with_name("other")
    SubmissionWriter(other, as_tuples)
    SubmissionWriter(other, as_tuples)


def test_other_settings_are_named_and_refused(writer):
    before = writer.settings_file.read_bytes()
    other = {"dataset": "widerface_val", "TEST.DETECTIONS_PER_IMAGE": 100, "new": True}
    with pytest.raises(ValueError, match="created with other settings") as caught:
        SubmissionWriter(writer.folder, other, integer_boxes=True)
    assert str(caught.value).split("\n")[1:] == [
        "  TEST.DETECTIONS_PER_IMAGE: 750 there, 100 now",
        "  integer_boxes: False there, True now",
        "  new: not set there, True now",
    ]
    assert writer.settings_file.read_bytes() == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    SubmissionWriter(folder, SETTINGS).settings_file.unlink()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(
        FileExistsError, match=r"photos is not empty and there is no .*photos\.json"
    ):
        SubmissionWriter(folder, SETTINGS)
    assert not (tmp_path / "photos.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "7"])
def test_a_damaged_settings_file_is_named(writer, text):
    writer.settings_file.write_text(text)
    with pytest.raises(ValueError, match=r"out\.json is no settings file"):
        SubmissionWriter(writer.folder, SETTINGS)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"these weights")
    return path


def test_settings_are_what_detections_depend_on(small_cfg, weights):
    def settings(*opts, dataset="widerface_val", path=weights):
        return submission_settings(small_cfg("MODEL.WEIGHTS", str(path), *opts), dataset)

    base = settings()
    json.dumps(base)
    assert settings("SOLVER.BASE_LR", 7.0, "MODEL.DEVICE", "cuda", "OUTPUT_DIR", "x") == base
    moved = weights.with_name("moved.pth")
    moved.write_bytes(weights.read_bytes())
    assert settings(path=moved) == base
    for key, value in (
        ("MODEL.SRN.NMS_THRESH_TEST", 0.4),
        ("INPUT.MIN_SIZE_TEST", 77),
        ("INPUT.MAX_SIZE_TEST", 77),
        ("INPUT.FORMAT", "BGR"),
        ("TEST.DETECTIONS_PER_IMAGE", 5),
        ("SOLVER.CPU_BFLOAT16", True),
        ("TEST.BFLOAT16", True),
        ("TEST.SRN_TTA.ENABLED", True),
    ):
        changed = settings(key, value)
        assert {k for k in base if changed[k] != base[k]} == {key}
    assert settings(dataset="widerface_test")["dataset"] == "widerface_test"
    weights.write_bytes(b"other weights")
    changed = settings()
    assert {k for k in base if changed[k] != base[k]} == {"weights_sha256"}


def test_a_size_by_free_memory_is_no_setting(small_cfg, weights):
    def settings(*opts):
        tta = ("TEST.SRN_TTA.MAX_SIZE", 0, "MODEL.WEIGHTS", str(weights))
        return submission_settings(small_cfg(*tta, *opts), "widerface_val")

    with pytest.raises(ValueError, match=r"TEST\.SRN_TTA\.MAX_SIZE is 0"):
        settings("TEST.SRN_TTA.ENABLED", True)
    settings("TEST.SRN_TTA.ENABLED", True, "TEST.SRN_TTA.SCALES", (0.5, 1.0))
    settings()
