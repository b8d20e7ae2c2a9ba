"""tools/demo.py and tools/demo_report.py, in processes of their own, with random weights."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srn_d2.cli.video_io import VideoReader, VideoWriter
from srn_d2.data import register_builtin_datasets
from srn_d2.data.datasets.wider_face import WiderFace, WiderImage, write_wider_annotations

# Few detections, so that drawing is quick; random weights give them low scores.
OPTS = ("TEST.DETECTIONS_PER_IMAGE", "5")


@pytest.fixture(scope="module")
def run_folder(repo_root, tmp_path_factory):
    """What a run leaves behind: config.yaml and model_final.pth, of seeded random weights."""
    from srn_d2.checkpoint import SRNCheckpointer
    from srn_d2.config import build_cfg
    from srn_d2.engine import SRNTrainer

    folder = tmp_path_factory.mktemp("run")
    small = ["MODEL.FPN.OUT_CHANNELS", 16, "MODEL.SRN.C6_CHANNELS", 16, "MODEL.SRN.C7_CHANNELS", 16]
    test_set = ["DATASETS.TEST", ("widerface_val",)]
    cfg = build_cfg(str(repo_root / "configs" / "srn_R18_lite.yaml"), [*small, *OPTS, *test_set])
    (folder / "config.yaml").write_text(cfg.dump())
    torch.manual_seed(0)
    SRNCheckpointer(SRNTrainer.build_model(cfg), str(folder)).save("model_final")
    return folder


@pytest.fixture(scope="module")
def demo(load_tool):
    return load_tool("demo")


@pytest.fixture(scope="module")
def trained(run_folder):
    """The arguments that name the config and the random weights."""
    config, weights = run_folder / "config.yaml", run_folder / "model_final.pth"
    return ["--config-file", str(config), "--weights", str(weights)]


@pytest.fixture
def run_demo(demo, trained, caplog):
    """Call the tool's main: ``run_demo("--input", ...)`` gives its status and its messages."""

    def run(*arguments):
        caplog.clear()
        with caplog.at_level("INFO", logger="srn_d2.cli"):
            status = demo.main([*trained, *map(str, arguments)])
        return status, caplog.text

    return run


def run_process(repo_root, name, *arguments, **environment):
    """Run a tool in a process of its own."""
    return subprocess.run(
        [sys.executable, str(repo_root / "tools" / name), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )


def save_image(path, size=(72, 96), seed=0, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **kwargs)
    return path


def check_faces(faces, height, width, threshold=0.0):
    assert 0 < len(faces) <= 5
    scores = [face["score"] for face in faces]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) >= threshold
    for face in faces:
        x1, y1, x2, y2 = face["bbox"]
        assert 0 <= x1 <= x2 <= width
        assert 0 <= y1 <= y2 <= height


def test_a_folder_with_everything(repo_root, trained, tmp_path):
    """Nested pictures, one turned by EXIF, one of another format, a video, a broken picture."""
    source, output = tmp_path / "in", tmp_path / "out"
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter turn
    save_image(source / "a.jpg")
    save_image(source / "sub" / "turned.jpg", exif=turned)
    save_image(source / "sub" / "deep.tif", size=(40, 50))
    (source / "broken.png").write_bytes(b"no picture")
    (source / "notes.txt").write_text("no picture either")
    writer = VideoWriter(source / "clip.avi", 5)
    for value in (0, 120, 240):
        writer.write(np.full((64, 80, 3), value, dtype=np.uint8))
    writer.close()

    arguments = (*trained, "--input", source, "--output", output, "--threshold", 0)
    done = run_process(repo_root, "demo.py", *arguments)
    assert done.returncode == 1, done.stderr
    assert f"{source / 'broken.png'} failed" in done.stderr
    assert "Traceback" not in done.stderr
    written = sorted(str(path.relative_to(output)) for path in output.rglob("*") if path.is_file())
    pictures = ["a.jpg", "sub/deep.tif.jpg", "sub/turned.jpg"]
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
        height, width = sizes[Path(name).name.removesuffix(".jpg" if ".tif" in name else "")]
        assert Image.open(output / name).size == (width, height)

    frames = [json.loads(line) for line in (output / "clip.avi.mp4.jsonl").open()]
    assert [frame["frame"] for frame in frames] == [0, 1, 2]
    assert [frame["time"] for frame in frames] == pytest.approx([0, 0.2, 0.4])
    for frame in frames:
        check_faces(frame["faces"], 64, 80)
    video = list(VideoReader(output / "clip.avi.mp4"))
    assert [frame.image.shape for frame in video] == [(64, 80, 3)] * 3


def test_csv_threshold_and_pictures_of_one_name(run_demo, tmp_path):
    inputs = [save_image(tmp_path / name / "x.png", seed=i) for i, name in enumerate(("a", "b"))]
    output = tmp_path / "out"
    status, messages = run_demo("--input", *inputs, "--output", output, "--threshold", 0)
    assert status == 0, messages
    faces = [record["faces"] for record in json.loads((output / "faces.json").read_text())]
    scores = sorted(face["score"] for image_faces in faces for face in image_faces)
    assert f"{len(scores)} faces in 2 files" in messages
    # Scores are rounded in the file: keep clear of the one in the middle.
    threshold = scores[len(scores) // 2] + 1e-3
    arguments = ("--threshold", threshold, "--format", "csv")
    status, messages = run_demo("--input", *inputs, "--output", output, *arguments)
    assert status == 0, messages
    with open(output / "faces.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = [
        (str(path), *map(str, face["bbox"]), str(face["score"]))
        for path, image_faces in zip(inputs, faces, strict=True)
        for face in image_faces
        if face["score"] >= threshold
    ]
    assert [tuple(row.values()) for row in rows] == wanted
    assert len(wanted) < len(scores)
    assert (output / "a" / "x.png").is_file()
    assert (output / "b" / "x.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--weights", "absent.pth"), "absent.pth"),
        (("--config-file", "absent.yaml"), "absent.yaml"),
        (("--input", "absent.jpg"), "absent.jpg"),
        (("--opts", "MODEL.SRN.RFF", "False"), "MODEL.SRN.RFE"),
        (("--weights", __file__), "test_demo.py is no checkpoint"),
    ],
)
def test_what_cannot_start_says_why(run_demo, tmp_path, arguments, message):
    picture = save_image(tmp_path / "a.jpg")
    output = tmp_path / "out"
    status, messages = run_demo("--input", picture, "--output", output, *arguments)
    assert status == 2
    assert message in messages
    assert not output.exists()


@pytest.mark.parametrize("threshold", ["1.5", "-0.1", "high"])
def test_a_threshold_is_a_score(run_demo, tmp_path, capsys, threshold):
    with pytest.raises(SystemExit) as stop:
        run_demo("--input", tmp_path, f"--threshold={threshold}")
    assert stop.value.code == 2
    assert "--threshold" in capsys.readouterr().err


def test_an_absent_camera_is_named_and_leaves_nothing(run_demo, tmp_path):
    status, messages = run_demo("--webcam", 99, "--output", tmp_path / "out")
    assert status == 1
    assert "camera 99" in messages
    assert not (tmp_path / "out").exists()


def write_video(path, num_frames):
    writer = VideoWriter(path, 5)
    for _ in range(num_frames):
        writer.write(np.zeros((64, 80, 3), dtype=np.uint8))
    writer.close()
    return path


@pytest.mark.parametrize(
    ("opts", "dtype"),
    [
        ((), "float32"),
        (("SOLVER.CPU_BFLOAT16", "True"), "bfloat16"),
        (("TEST.BFLOAT16", "True"), "bfloat16"),
    ],
)
def test_the_configs_test_settings_count(demo, trained, tmp_path, monkeypatch, opts, dtype):
    seen = {}
    monkeypatch.setattr(demo, "FaceDetector", lambda **arguments: seen.update(arguments))
    float32 = ("SOLVER.CPU_BFLOAT16", "False")
    picture = str(save_image(tmp_path / "a.jpg"))
    demo.prepare(demo.parse_args([*trained, "--input", picture, "--opts", *float32, *opts]))
    assert (seen["dtype"], seen["multi_scale"]) == (dtype, False)


def test_max_frames_ends_a_video(run_demo, tmp_path):
    video, output = write_video(tmp_path / "clip.mp4", 4), tmp_path / "out"
    status, messages = run_demo("--input", video, "--output", output, "--max-frames", 2)
    assert status == 0, messages
    assert len((output / "clip.mp4.jsonl").read_text().splitlines()) == 2


def test_ctrl_c_keeps_what_is_done_and_no_half_video(run_demo, tmp_path, monkeypatch):
    picture, output = save_image(tmp_path / "a.jpg"), tmp_path / "out"
    video = write_video(tmp_path / "clip.mp4", 4)
    written = []

    def interrupt_at_second_frame(self, image):
        written.append(image)
        if len(written) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "write", interrupt_at_second_frame)
    status, _ = run_demo("--input", picture, video, "--output", output, "--threshold", 0)
    assert status == 130
    assert sorted(path.name for path in output.iterdir()) == ["a.jpg", "faces.json"]
    [record] = json.loads((output / "faces.json").read_text())
    check_faces(record["faces"], 72, 96)


def names_of(sources):
    return [str(source.name) for source in sources]


def test_folders_globs_and_files_become_sources_in_order(demo, tmp_path, monkeypatch):
    for name in ("in/b.jpg", "in/a.PNG", "in/sub/c.mp4", "in/notes.txt", "other/d.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    out = Path("out")
    assert names_of(demo.find_sources(["in"], out)) == ["a.PNG", "b.jpg", "sub/c.mp4"]
    assert names_of(demo.find_sources(["in/**/*.[jm]p*"], out)) == ["b.jpg", "sub/c.mp4"]
    assert names_of(demo.find_sources(["in/b.jpg", "in", "in/b.jpg"], out))[0] == "b.jpg"
    assert len(demo.find_sources(["in/b.jpg", "in", "in/b.jpg"], out)) == 3
    both = demo.find_sources(["other", "in"], out)
    assert names_of(both) == ["other/d.jpg", "in/a.PNG", "in/b.jpg", "in/sub/c.mp4"]
    assert [source.is_video for source in both] == [False, False, False, True]
    # A file that is named counts whatever its suffix: its bytes tell its format.
    assert names_of(demo.find_sources(["in/notes.txt"], out)) == ["notes.txt.jpg"]


def test_what_was_written_before_is_no_input(demo, tmp_path, monkeypatch):
    (tmp_path / "found").mkdir()
    (tmp_path / "a.jpg").touch()
    (tmp_path / "found" / "a.jpg").touch()
    monkeypatch.chdir(tmp_path)
    for pattern in (".", f"../{tmp_path.name}"):
        assert names_of(demo.find_sources([pattern], Path("found"))) == ["a.jpg"]
    for pattern in ("found", "../" + tmp_path.name + "/found"):
        with pytest.raises(ValueError, match="is the output folder"):
            demo.find_sources([pattern], Path("found"))


def test_what_is_written_stays_below_the_output(demo, tmp_path, monkeypatch):
    (tmp_path / "cwd").mkdir()
    (tmp_path / "other").mkdir()
    for name in ("cwd/a.jpg", "other/b.jpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "cwd")
    sources = demo.find_sources(["../other/b.jpg", "../other/*", "a.jpg"], Path("out"))
    assert names_of(sources) == ["other/b.jpg", "cwd/a.jpg"]


def test_inputs_are_never_overwritten_nor_outputs_twice(demo, tmp_path):
    for name in ("a.jpg", "x.tif", "x.tif.jpg"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"a\.jpg would be overwritten"):
        demo.find_sources([str(tmp_path / "a.jpg")], tmp_path)
    with pytest.raises(ValueError, match=r"x\.tif\.jpg: do one"):
        demo.find_sources([str(tmp_path / "x.t*")], tmp_path / "out")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.jpg").touch()
    both = [str(tmp_path / "a.jpg"), str(tmp_path / "sub" / "a.jpg")]
    with pytest.raises(ValueError, match=r"sub.a\.jpg would be overwritten"):
        demo.find_sources(both, tmp_path / "sub")


@pytest.mark.parametrize("pattern", ["absent.jpg", "*.jpg", "empty"])
def test_a_pattern_that_names_nothing_is_an_error(demo, tmp_path, monkeypatch, pattern):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        demo.find_sources([pattern], Path("out"))
    assert pattern in str(caught.value)


@pytest.fixture(scope="module")
def tiny_widerface(tmp_path_factory):
    """A folder for DETECTRON2_DATASETS with three images of widerface_val."""
    root = tmp_path_factory.mktemp("datasets")
    widerface = root / "widerface"
    (widerface / "wider_face_split").mkdir(parents=True)
    images = []
    for index in range(3):
        name = f"0--Parade/{index}.jpg"
        save_image(widerface / "WIDER_val" / "images" / name, seed=index)
        faces = tuple(WiderFace(10 * k, 10, 20, 25) for k in range(index))
        images.append(WiderImage(name, faces))
    write_wider_annotations(widerface / "wider_face_split" / "wider_face_val_bbx_gt.txt", images)
    return root


def write_metrics(run_folder, ap50):
    records = [
        {"iteration": 19, "total_loss": 2.0, "loss_cls_s2": 1.5},
        {"iteration": 39, "total_loss": 1.0, "loss_cls_s2": 0.5} | ap50,
    ]
    (run_folder / "metrics.json").write_text("".join(json.dumps(r) + "\n" for r in records))


def test_the_report_draws_and_accepts_a_good_run(repo_root, run_folder, tiny_widerface):
    write_metrics(run_folder, {"bbox/AP50": 93.5})
    environment = {"DETECTRON2_DATASETS": str(tiny_widerface)}
    done = run_process(repo_root, "demo_report.py", run_folder, **environment)
    assert done.returncode == 0, done.stderr
    assert "AP50 on widerface_val: 93.50" in done.stdout
    for name in ("detections.png", "losses.png"):
        assert str(run_folder / name) in done.stdout
        picture = np.asarray(Image.open(run_folder / name).convert("RGB"))
        assert picture.std() > 10, "not blank"


@pytest.fixture
def registered(tiny_widerface):
    """widerface_val is the tiny one."""
    register_builtin_datasets(tiny_widerface)
    yield
    register_builtin_datasets()


@pytest.mark.usefixtures("registered")
def test_the_report_refuses_a_poor_run(load_tool, run_folder, capsys):
    write_metrics(run_folder, {"bbox/AP50": 88.0})
    assert load_tool("demo_report").main([str(run_folder)]) == 1
    printed = capsys.readouterr()
    assert "AP50 on widerface_val: 88.00" in printed.out
    assert "below 90" in printed.err
    assert load_tool("demo_report").main([str(run_folder), "--min-ap50", "80"]) == 0


def test_the_report_refuses_an_unfinished_run(load_tool, run_folder, capsys):
    write_metrics(run_folder, {})
    assert load_tool("demo_report").main([str(run_folder)]) == 1
    assert "no AP50 of the last iteration" in capsys.readouterr().err
