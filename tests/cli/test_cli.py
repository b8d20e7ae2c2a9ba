"""The command ``srn-d2`` itself: usage, help, exit status."""

import os
import subprocess
import sys

import pytest

from helpers.detect_files import save_image
from srn_d2 import cli, doctor
from srn_d2.doctor import Finding


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
        (["evaluate"], ["srn-d2 evaluate ", "--ground-truth", "--compare", "Exit status: 0; 1"]),
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


@pytest.mark.parametrize("place", ["srn_d2.cli.workers.prepare_job", "srn_d2.cli.detect.run"])
def test_ctrl_c_before_anything_is_done(monkeypatch, place):
    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    assert cli.main(["detect", "a.jpg"]) == 130


def test_an_absent_camera_is_an_input_that_failed(detect_model, tmp_path, caplog):
    files = [
        "--config-file",
        str(detect_model["config_file"]),
        "--weights",
        str(detect_model["weights"]),
    ]
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


def test_a_user_sees_the_result_and_no_warnings(detect_model, repo_root, tmp_path):
    picture = save_image(tmp_path / "a.png")
    files = [
        "--config-file",
        str(detect_model["config_file"]),
        "--weights",
        str(detect_model["weights"]),
    ]
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
    assert done.stderr.splitlines() == [f"0 faces in 1 file: {tmp_path / 'out' / 'faces.json'}"]
