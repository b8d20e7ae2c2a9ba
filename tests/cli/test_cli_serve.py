"""``srn-d2 serve``: its options, and the command as a process."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from fastapi.testclient import TestClient
from matplotlib import cbook

from srn_d2 import FaceDetector, cli
from srn_d2.cli.serve import end_at_once
from srn_d2.inference.defaults import SCORE_THRESHOLD
from srn_d2.server.run import bind

RUN = "srn_d2.server.run.run"


@pytest.fixture
def served(monkeypatch, capsys):
    """``served("--port", "0")``: what would be served, by its settings, and what was printed."""

    def serve(*options):
        settings = []

        def run(app, listening, open_browser):
            settings.append(TestClient(app, "http://127.0.0.1").get("/settings").json())
            settings[0]["open"] = open_browser
            proxy = TestClient(app, "http://faces.example.org").get("/settings")
            settings[0]["proxy"] = proxy.status_code

        monkeypatch.setattr(RUN, run)
        status = cli.main(["serve", "--device", "cpu", "--port", "0", *options])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return settings[0], printed

    return serve


def test_options(served):
    settings, printed = served()
    assert re.fullmatch(r"Faces are found at http://127\.0\.0\.1:\d+/ until Ctrl-C\n", printed.out)
    assert printed.err == ""
    assert (settings["threshold"], settings["lowest_threshold"]) == (SCORE_THRESHOLD, 0.05)
    assert (settings["max_bytes"], settings["max_pixels"]) == (32_000_000, 25_000_000)
    assert not settings["open"]
    assert settings["proxy"] == 403

    limits = ["--max-megabytes", "1.5", "--max-megapixels", "2"]
    names = ["--allow-name", "a.example.org", "--allow-name", "faces.example.org"]
    settings, printed = served(
        "--threshold", "0.02", *limits, *names, "--open", "--host", "0.0.0.0"
    )
    assert settings["proxy"] == 200
    assert (settings["threshold"], settings["lowest_threshold"]) == (0.02, 0.02)
    assert (settings["max_bytes"], settings["max_pixels"]) == (1_500_000, 2_000_000)
    assert settings["open"]
    assert "http://localhost:" in printed.out
    assert "Everybody" in printed.err


@pytest.mark.parametrize(
    "option",
    [
        ["--port", "65536"],
        ["--port", "http"],
        ["--max-megabytes", "0"],
        ["photo.jpg"],
        ["--allow-name", "https://faces.example.org"],
        ["--allow-name", "faces:80"],
    ],
)
def test_usage_errors(capsys, option):
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", *option])
    assert stop.value.code == 2
    assert option[0] in capsys.readouterr().err


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "curl" in text
    assert "refuse larger pictures (default: 25)" in text


def test_what_cannot_start_says_why(capsys):
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        assert cli.main(["serve", "--port", str(port)]) == 2
    assert f"port {port}" in capsys.readouterr().err
    assert cli.main(["serve", "--port", "0", "--model", "absent"]) == 2
    assert "absent" in capsys.readouterr().err


def test_without_the_extra(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("srn_d2.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert cli.main(["serve", "--port", "0"]) == 2
    assert "pip install 'srn_d2[serve]'" in capsys.readouterr().err


def test_a_second_ctrl_c_does_not_wait(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RUN, interrupt)
    handler = signal.getsignal(signal.SIGINT)
    try:
        assert cli.main(["serve", "--device", "cpu", "--port", "0"]) == 0
        assert signal.getsignal(signal.SIGINT) is end_at_once
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.mark.slow
def test_the_command_until_ctrl_c(repo_root, tmp_path):
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(
        f'#!/bin/sh\nprintf "%s" "$1" > "{opened}.part"\nmv "{opened}.part" "{opened}"\n'
    )
    browser.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "srn_d2.cli", "serve", "--port", "0", "--device", "cpu", "--open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=repo_root,
        env=os.environ | {"OMP_NUM_THREADS": "1", "BROWSER": f"{browser} %s"},
    )
    with process:
        try:
            url = re.search(r"http://\S+", process.stdout.readline())[0]
            with urllib.request.urlopen(f"{url}healthz", timeout=60) as answer:
                assert json.load(answer)["status"] == "ok"
            photo = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
            with open(photo, "rb") as file:
                request = urllib.request.Request(f"{url}detect?threshold=0.05", file.read())
            with urllib.request.urlopen(request, timeout=60) as answer:
                found = json.load(answer)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    assert errors == ""
    assert opened.read_text() == url
    assert found == FaceDetector(device="cpu", score_threshold=0.05)(photo).to_dict()
