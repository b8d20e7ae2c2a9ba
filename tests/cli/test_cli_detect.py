"""``srn-d2 detect`` and the command itself; what it shares with tools/demo.py is tested there."""

import csv
import json
import os
import subprocess
import sys
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.video_files import cut, write_container
from srn_d2 import FaceDetector, cli, doctor
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.cli.sources import find_sources
from srn_d2.cli.video_io import VIDEO_SUFFIXES, VideoReader, VideoWriter
from srn_d2.config import build_cfg
from srn_d2.doctor import Finding
from srn_d2.engine import SRNTrainer
from srn_d2.evaluation.widerface.prediction_files import read_predictions

PROCESS_FILES = "srn_d2.cli.processing.process_files"
SMALL = ["MODEL.FPN.OUT_CHANNELS", 16, "MODEL.SRN.C6_CHANNELS", 16, "MODEL.SRN.C7_CHANNELS", 16]


@pytest.fixture(scope="module")
def model(repo_root, tmp_path_factory):
    """Config and random weights, whose scores are low."""
    folder = tmp_path_factory.mktemp("run")
    config = str(repo_root / "configs" / "srn_R18_lite.yaml")
    cfg = build_cfg(config, [*SMALL, "MODEL.DEVICE", "cpu", "TEST.DETECTIONS_PER_IMAGE", 5])
    torch.manual_seed(0)
    SRNCheckpointer(SRNTrainer.build_model(cfg), str(folder)).save("model_final")
    (folder / "config.yaml").write_text(cfg.dump())
    return {"config_file": folder / "config.yaml", "weights": folder / "model_final.pth"}


@pytest.fixture
def detect(model, tmp_path, caplog):
    """Run the command: ``detect("a.jpg", "--blur")`` gives its status and its messages."""

    def run(*arguments):
        options = ["--config-file", model["config_file"], "--weights", model["weights"]]
        options += ["--device", "cpu", "--threshold", 0, "--output", tmp_path / "out"]
        caplog.clear()
        with caplog.at_level("INFO", logger="srn_d2.cli"):
            status = cli.main(["detect", *map(str, [*options, *arguments])])
        return status, caplog.text

    return run


def save_image(path, size=(64, 96), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def save_video(path, num_frames=3):
    writer = VideoWriter(path, 5)
    for index in range(num_frames):
        writer.write(np.full((64, 80, 3), 80 * index, dtype=np.uint8))
    writer.close()
    return path


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_all_formats_agree_with_the_detector(detect, model, tmp_path):
    for index in range(2):
        save_image(tmp_path / "in" / "0--Parade" / f"{index}.png", seed=index)
    save_image(tmp_path / "in" / "1--Riot" / "0.tif", size=(40, 50))
    status, messages = detect(tmp_path / "in", "--format", "json,csv,wider")
    assert status == 0, messages
    output = tmp_path / "out"
    pictures = ["0--Parade/0.png", "0--Parade/1.png", "1--Riot/0.tif.jpg"]
    texts = ["wider/0--Parade/0.txt", "wider/0--Parade/1.txt", "wider/1--Riot/0.txt"]
    assert files_below(output) == sorted([*pictures, *texts, "faces.csv", "faces.json"])

    detector = FaceDetector(**model, device="cpu", score_threshold=0)
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
    assert "limit" in errors["bomb.png"]
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
    assert status == 1
    assert messages.count("failed") == 1
    assert ".mp4 failed" in messages
    output = tmp_path / "out"
    assert len(read_predictions(output / "wider", names).predictions) == len(names)
    records = json.loads((output / "faces.json").read_text())
    with open(output / "faces.csv", newline="", errors="surrogateescape") as file:
        in_csv = {row["file_name"] for row in csv.DictReader(file)}
    assert in_csv == {record["file_name"] for record in records if "faces" in record}
    assert {Path(name).stem for name in in_csv} == set(names)


@pytest.mark.parametrize("option", ["--blur", "--pixelate"])
def test_faces_are_hidden(detect, model, tmp_path, option):
    path = save_image(tmp_path / "a.png")
    status, messages = detect(path, option)
    assert status == 0, messages
    original = np.asarray(Image.open(path)).astype(int)
    hidden = np.asarray(Image.open(tmp_path / "out" / "a.png")).astype(int)
    box = FaceDetector(**model, device="cpu", score_threshold=0)(path).boxes[0]
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


def test_a_pixelated_video_and_max_frames(detect, tmp_path):
    status, messages = detect(save_video(tmp_path / "a.mp4"), "--pixelate", "--max-frames", 2)
    assert status == 0, messages
    assert files_below(tmp_path / "out") == ["a.mp4", "a.mp4.jsonl"]
    assert len(list(VideoReader(tmp_path / "out" / "a.mp4"))) == 2


def test_of_a_truncated_video_what_is_there_is_written(detect, tmp_path):
    half = cut(write_container(tmp_path / "cut.mkv", "MJPG", 20), 0.5)
    good, output = save_video(tmp_path / "good.mp4"), tmp_path / "out"
    num_frames = len(list(VideoReader(half)))
    assert 2 < num_frames < 15
    status, messages = detect(half, good)
    assert status == 1
    assert messages.count("failed") == 1
    assert f"cut.mkv ends after {num_frames} of 20 frames" in messages
    names = ["cut.mkv.mp4", "good.mp4"]
    assert files_below(output) == sorted([*names, *[f"{n}.jsonl" for n in names], "faces.json"])
    assert len(list(VideoReader(output / "cut.mkv.mp4"))) == num_frames
    assert len((output / "cut.mkv.mp4.jsonl").read_text().splitlines()) == num_frames
    [record] = json.loads((output / "faces.json").read_text())
    assert record["file_name"] == str(half)
    assert "truncated" in record["error"]


def test_a_truncated_video_matters_only_if_its_end_is_wanted(detect, tmp_path):
    half = cut(write_container(tmp_path / "cut.mkv", "MJPG", 20), 0.5)
    status, messages = detect(half, "--no-pictures", "--max-frames", 2)
    assert status == 0, messages
    status, messages = detect(half, "--no-pictures", "--max-frames", 18)
    assert status == 1
    assert "of 20 frames" in messages


def test_all_kinds_of_videos_in_a_folder(detect, tmp_path):
    (tmp_path / "in").mkdir()
    codecs = {"a.WMV": "WMV2", "b.flv": "FLV1", "c.ts": "mp4v", "d.3gp": "mp4v", "e.mts": "mp4v"}
    for name, codec in codecs.items():
        write_container(tmp_path / "in" / name, codec, 8)
    status, messages = detect(tmp_path / "in", "--no-pictures", "--max-frames", 2)
    assert status == 0, messages
    assert files_below(tmp_path / "out") == [f"{name}.mp4.jsonl" for name in codecs]
    for path in (tmp_path / "out").iterdir():
        assert len(path.read_text().splitlines()) == 2


def test_each_suffix_of_a_video_is_found(tmp_path):
    for suffix in VIDEO_SUFFIXES:
        (tmp_path / f"clip{suffix}").touch()
    sources = find_sources([str(tmp_path)], tmp_path / "out")
    assert len(sources) == len(VIDEO_SUFFIXES)
    assert all(source.is_video and source.name.suffix == ".mp4" for source in sources)


def test_typescript_in_a_folder_is_no_video(tmp_path):
    (tmp_path / "main.ts").write_text('import { faces } from "./faces";\n' * 20)
    write_container(tmp_path / "clip.ts", num_frames=2)
    [source] = find_sources([str(tmp_path)], tmp_path / "out")
    assert source.path.name == "clip.ts"
    # Whoever names a file wants to hear that it is none.
    [source] = find_sources([str(tmp_path / "main.ts")], tmp_path / "out")
    assert source.is_video


@pytest.mark.parametrize(
    ("option", "attribute", "value"),
    [
        (["--size", "100"], "view_policy.size", 100),
        (["--min-face-size", "20"], "view_policy.min_face_size", 20),
        (["--bfloat16"], "dtype", torch.bfloat16),
        (["--no-large-faces"], "view_policy.large_faces", False),
        (["--max-megapixels", "2"], "max_pixels", 2_000_000),
        (["--multi-scale"], "view_policy.large_faces", True),
    ],
)
def test_options_reach_the_detector(detect, tmp_path, monkeypatch, option, attribute, value):
    seen = []
    monkeypatch.setattr(PROCESS_FILES, lambda job: seen.append(job) or 0)
    status, messages = detect(save_image(tmp_path / "a.png"), *option)
    assert status == 0, messages
    [job] = seen
    assert attrgetter(attribute)(job.detector) == value
    predictor = job.detector._predictor
    is_multi_scale = predictor.model is not predictor.single_scale_model
    assert is_multi_scale == ("--multi-scale" in option)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.jpg"], "absent.jpg"),
        (["a.png", "--weights", "absent.pth"], "absent.pth"),
        (["a.png", "--config-file", "absent.yaml"], "absent.yaml"),
        (["a.*", "--format", "wider"], "named a,"),
        (["a.png", "--min-face-size", "-1"], "min_face_size"),
        (["a.png", "--output", "."], "overwritten"),
        (["a.png", "--output", "a.bmp"], "a.bmp is no folder"),
        (["a.png", "--output", "a.bmp/out"], "a.bmp is no folder"),
        (["a.png", "--weights", "a.bmp"], "a.bmp is no checkpoint"),
    ],
)
def test_what_cannot_start_says_why(detect, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "a.bmp")
    status, messages = detect(*arguments)
    assert status == 2
    assert message in messages
    assert files_below(tmp_path) == ["a.bmp", "a.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["find"], "find"),
        (["detect"], "--webcam"),
        (["detect", "a.jpg", "--webcam"], "--webcam"),
        (["detect", "a.jpg", "--threshold", "2"], "--threshold"),
        (["detect", "a.jpg", "--format", "xml"], "--format"),
        (["detect", "a.jpg", "--size", "large"], "--size"),
        (["detect", "a.jpg", "--size", "9", "--min-face-size", "9"], "--min-face-size"),
        (["detect", "a.jpg", "--blur", "--pixelate"], "--pixelate"),
        (["detect", "a.mp4", "--max-frames", "0"], "--max-frames"),
        (["detect", "a.jpg", "--max-megapixels", "inf"], "--max-megapixels"),
        (["evaluate"], "--predictions"),
    ],
)
def test_usage_errors(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ([], ["detect", "evaluate", "export", "serve", "doctor", "srn-d2 detect photo.jpg"]),
        (["detect"], ["srn-d2 detect ", "--threshold", "--webcam", "--pixelate"]),
        (["evaluate"], ["srn-d2 evaluate ", "--ground-truth", "--compare", "Exit status: 0, or 2"]),
        (["export"], ["srn-d2 export ", "--output"]),
        (["serve"], ["srn-d2 serve ", "--port"]),
        (["doctor"], ["srn-d2 doctor", "Exit status 1"]),
    ],
)
def test_help(capsys, command, expected):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command, "--help"])
    assert stop.value.code == 0
    output = capsys.readouterr()
    assert output.err == ""
    assert [text for text in expected if text not in output.out] == []


@pytest.mark.parametrize("place", ["srn_d2.cli.detect._prepare", "srn_d2.cli.detect.run"])
def test_ctrl_c_before_anything_is_done(monkeypatch, place):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    assert cli.main(["detect", "a.jpg"]) == 130


def test_an_absent_camera_is_an_input_that_failed(model, tmp_path, caplog):
    files = ["--config-file", str(model["config_file"]), "--weights", str(model["weights"])]
    output = tmp_path / "out"
    assert cli.main(["detect", "--webcam", "99", *files, "--output", str(output)]) == 1
    assert "camera 99" in caplog.text
    assert not output.exists()


def test_evaluate_runs(capsys, tmp_path):
    folders = ["--predictions", str(tmp_path), "--ground-truth", str(tmp_path)]
    assert cli.main(["evaluate", *folders]) == 2
    assert "wider_easy_val.mat" in capsys.readouterr().err


@pytest.mark.parametrize(("is_needed", "status"), [(False, 0), (True, 1)])
def test_doctor_reports_and_tells_by_its_status_whether_anything_is_needed(
    monkeypatch, capsys, is_needed, status
):
    finding = Finding("torch", "2.0", "mend it", is_needed)
    monkeypatch.setattr(doctor, "examine", lambda: [finding])
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().out == doctor.format_report([finding]) + "\n"


def test_the_command_imports_nothing_heavy_before_it_must():
    code = (
        "import sys; sys.argv = ['bin/srn-d2', '--help']\n"
        "from srn_d2.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    assert not {'torch', 'detectron2', 'cv2'} & sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert "srn-d2 detect" in done.stdout


def test_a_user_sees_the_result_and_no_warnings(model, repo_root, tmp_path):
    picture = save_image(tmp_path / "a.png")
    files = ["--config-file", str(model["config_file"]), "--weights", str(model["weights"])]
    command = [sys.executable, "-m", "srn_d2.cli", "detect", str(picture), *files]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "out"), "--device", "cpu"],
        capture_output=True,
        text=True,
        cwd=repo_root,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines() == [f"0 faces in 1 files: {tmp_path / 'out' / 'faces.json'}"]
