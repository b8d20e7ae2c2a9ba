"""``srn-d2 detect`` on pictures and folders, with random weights."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.detect_files import check_faces, files_below, save_image, save_video
from helpers.video_files import read_frames
from srn_d2 import FaceDetector, cli
from srn_d2.evaluation.predictions.folders import read_predictions


def test_all_formats_agree_with_the_detector(detect, detect_model, tmp_path):
    for index in range(2):
        save_image(tmp_path / "in" / "0--Parade" / f"{index}.png", seed=index)
    save_image(tmp_path / "in" / "1--Riot" / "0.tif", size=(40, 50))
    status, messages = detect(tmp_path / "in", "--format", "json,csv,wider")
    assert status == 0, messages
    output = tmp_path / "out"
    pictures = ["0--Parade/0.png", "0--Parade/1.png", "1--Riot/0.tif"]
    texts = ["wider/0--Parade/0.txt", "wider/0--Parade/1.txt", "wider/1--Riot/0.txt"]
    assert files_below(output) == sorted([*pictures, *texts, "faces.csv", "faces.json"])

    detector = FaceDetector(**detect_model, device="cpu", score_threshold=0)
    records = json.loads((output / "faces.json").read_text())
    rows = list(csv.DictReader((output / "faces.csv").open(newline="")))
    ids = ["0--Parade/0", "0--Parade/1", "1--Riot/0"]
    predictions = read_predictions(output / "wider", ids).predictions
    for record, image_id in zip(records, ids, strict=True):
        expected = detector(record["file_name"]).to_dict()
        assert record == {"file_name": record["file_name"], **expected}
        assert str(Path(record["file_name"]).with_suffix("")).endswith(image_id)
        boxes = np.array([face["bbox"] for face in expected["faces"]])
        scores = [face["score"] for face in expected["faces"]]
        wider = predictions[image_id]
        np.testing.assert_allclose(wider[:, :2], boxes[:, :2])
        np.testing.assert_allclose(wider[:, :2] + wider[:, 2:4], boxes[:, 2:], atol=1e-6)
        assert wider[:, 4].tolist() == scores
        of_image = [row for row in rows if row["file_name"] == record["file_name"]]
        assert [float(row["x2"]) for row in of_image] == boxes[:, 2].tolist()
        assert [float(row["score"]) for row in of_image] == scores


def test_bad_files_are_reported_and_the_rest_goes_on(detect, tmp_path):
    save_image(tmp_path / "in" / "good.png")
    save_image(tmp_path / "in" / "bomb.png", size=(100, 101))
    (tmp_path / "in" / "text.jpg").write_text("no image")
    half = save_image(tmp_path / "in" / "cut.png")
    half.write_bytes(half.read_bytes()[:2000])
    (tmp_path / "in" / "no.mp4").write_text("no video")
    status, messages = detect(tmp_path / "in", "--max-megapixels", 0.01, "--format", "json,wider")
    assert status == 1
    for name in ("bomb.png", "text.jpg", "cut.png", "no.mp4"):
        assert f"{name} failed" in messages
    records = json.loads((tmp_path / "out" / "faces.json").read_text())
    errors = {Path(record["file_name"]).name: record.get("error") for record in records}
    assert errors.pop("good.png") is None
    limit = "101 x 100 pixels, more than the limit of 0.01 megapixels; see --max-megapixels"
    assert limit in errors["bomb.png"]
    for path in (tmp_path / "in").iterdir():  # each once a line
        lines = [line for line in messages.splitlines() if str(path) in line]
        assert all(line.count(str(path)) == 1 for line in lines)
    assert "not an image" in errors["text.jpg"]
    assert all(errors.values())
    assert files_below(tmp_path / "out") == ["faces.json", "good.png", "wider/good.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode here: run on Linux")
def test_names_of_any_bytes(detect, tmp_path):
    names = ["not utf-8 \udcff", "two\nlines", "long" * 60]
    for name in names:
        save_image(tmp_path / "in" / f"{name}.png")
    save_video(tmp_path / "clip.mp4").rename(tmp_path / "in" / "\udcff.mp4")
    status, messages = detect(tmp_path / "in", "--format", "json,csv,wider")
    assert status == 0, messages
    output = tmp_path / "out"
    assert len(read_frames(output / "\udcff.mp4")[0]) == 3
    assert len(read_predictions(output / "wider", names).predictions) == len(names)
    records = json.loads((output / "faces.json").read_text())
    with open(output / "faces.csv", newline="", errors="surrogateescape") as file:
        in_csv = {row["file_name"] for row in csv.DictReader(file)}
    assert in_csv == {record["file_name"] for record in records if "faces" in record}
    assert {Path(name).stem for name in in_csv} == set(names)


@pytest.mark.parametrize("option", ["--blur", "--pixelate"])
def test_faces_are_hidden(detect, detect_model, tmp_path, option):
    path = save_image(tmp_path / "a.png")
    status, messages = detect(path, option)
    assert status == 0, messages
    original = np.asarray(Image.open(path)).astype(int)
    hidden = np.asarray(Image.open(tmp_path / "out" / "a.png")).astype(int)
    box = FaceDetector(**detect_model, device="cpu", score_threshold=0)(path).boxes[0]
    x1, y1, x2, y2 = box.round().astype(int)
    inside = np.s_[max(y1, 0) : y2, max(x1, 0) : x2]
    assert hidden[inside].std() < 0.8 * original[inside].std()


def test_pictures_and_videos_only_if_wanted(detect, tmp_path):
    picture, video = save_image(tmp_path / "a.png"), save_video(tmp_path / "clip.mp4")
    status, messages = detect(picture, video, "--no-pictures")
    assert status == 0, messages
    assert files_below(tmp_path / "out") == ["clip.mp4.jsonl", "faces.json"]
    lines = (tmp_path / "out" / "clip.mp4.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == [0, 1, 2]


def test_a_folder_with_everything(detect_model, tmp_path, caplog, capfd):
    """Nested pictures, one turned by EXIF, one of another format, a video, a broken picture."""
    source, output = tmp_path / "in", tmp_path / "out"
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    save_image(source / "a.jpg", size=(72, 96))
    save_image(source / "sub" / "turned.jpg", size=(72, 96), exif=turned)
    save_image(source / "sub" / "deep.tif", size=(40, 50))
    (source / "broken.png").write_bytes(b"no picture")
    (source / "notes.txt").write_text("no picture either")
    save_video(source / "clip.avi")

    command = ["detect", source, "--threshold", "0", "--output", output]
    command += ["--config-file", detect_model["config_file"]]
    assert cli.main([*map(str, command), "MODEL.WEIGHTS", str(detect_model["weights"])]) == 1
    assert f"{source / 'broken.png'} failed" in caplog.text
    assert "Traceback" not in caplog.text + capfd.readouterr().err
    written = files_below(output)
    pictures = ["a.jpg", "sub/deep.tif", "sub/turned.jpg"]
    assert written == sorted(["clip.avi.mp4", "clip.avi.mp4.jsonl", "faces.json", *pictures])

    records = {
        Path(record["file_name"]).name: record
        for record in json.loads((output / "faces.json").read_text())
    }
    assert records.keys() == {"a.jpg", "turned.jpg", "deep.tif", "broken.png"}
    assert "decoded" in records["broken.png"]["error"]
    sizes = {"a.jpg": (72, 96), "turned.jpg": (96, 72), "deep.tif": (40, 50)}
    for name, (height, width) in sizes.items():
        assert (records[name]["height"], records[name]["width"]) == (height, width)
        check_faces(records[name]["faces"], height, width)
    for name in pictures:
        height, width = sizes[Path(name).name]
        assert Image.open(output / name).size == (width, height)

    frames = [json.loads(line) for line in (output / "clip.avi.mp4.jsonl").open()]
    assert [frame["frame"] for frame in frames] == [0, 1, 2]
    assert [frame["time"] for frame in frames] == pytest.approx([0, 0.2, 0.4])
    for frame in frames:
        check_faces(frame["faces"], 64, 80)
    _, frames = read_frames(output / "clip.avi.mp4")
    assert [frame.shape for frame in frames] == [(64, 80, 3)] * 3


def test_csv_threshold_and_pictures_of_one_name(detect, tmp_path):
    inputs = [save_image(tmp_path / name / "x.png", seed=i) for i, name in enumerate(("a", "b"))]
    output = tmp_path / "out"
    status, messages = detect(*inputs, "--threshold", 0)
    assert status == 0, messages
    faces = [record["faces"] for record in json.loads((output / "faces.json").read_text())]
    scores = sorted(face["score"] for image_faces in faces for face in image_faces)
    assert f"{len(scores)} faces in 2 files" in messages
    # Scores are rounded in the file: keep clear of the one in the middle.
    threshold = scores[len(scores) // 2] + 1e-3
    arguments = ("--threshold", threshold, "--format", "csv")
    status, messages = detect(*inputs, *arguments)
    assert status == 0, messages
    with open(output / "faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = [
        (str(path), *map(str, face["bbox"]), str(face["score"]), "0")
        for path, image_faces in zip(inputs, faces, strict=True)
        for face in image_faces
        if face["score"] >= threshold
    ]
    assert [tuple(row.values()) for row in rows] == wanted
    assert len(wanted) < len(scores)
    assert (output / "a" / "x.png").is_file()
    assert (output / "b" / "x.png").is_file()
