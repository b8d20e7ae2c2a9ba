"""The detector that the options of ``srn-d2 detect`` and a config describe."""

import json
from operator import attrgetter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.detect_files import check_faces, files_below, save_image
from srn_d2 import cli
from srn_d2.cli.detector_arguments import build_detector

PROCESS_FILES = "srn_d2.cli.processing.process_files"


@pytest.fixture
def built_detector(detect, tmp_path, monkeypatch):
    """Build the detector of a command line: ``built_detector("--bfloat16")``."""

    def build(*options):
        jobs = []
        monkeypatch.setattr(PROCESS_FILES, lambda job: jobs.append(job) or 0)
        status, messages = detect(save_image(tmp_path / "a.png"), *options)
        assert status == 0, messages
        [job] = jobs
        return job.detector.detector

    return build


def is_multi_scale(detector):
    return detector._predictor.model is not detector._predictor.single_scale_model


@pytest.mark.parametrize(
    ("option", "attribute", "value"),
    [
        (["--size", "100"], "view_policy.size", 100),
        (["--size", "config"], "follows_config_size", True),
        (["--min-face-size", "20"], "view_policy.min_face_size", 20),
        (["--bfloat16"], "dtype", torch.bfloat16),
        (["--no-large-faces"], "view_policy.large_faces", False),
        (["--max-megapixels", "2"], "max_pixels", 2_000_000),
        (["--multi-scale"], "view_policy.large_faces", True),
    ],
)
def test_options_reach_the_detector(built_detector, option, attribute, value):
    detector = built_detector(*option)
    assert attrgetter(attribute)(detector) == value
    assert is_multi_scale(detector) == ("--multi-scale" in option)


@pytest.mark.parametrize("introduction", [[], ["--opts"]])
@pytest.mark.parametrize(
    ("options", "overrides", "dtype", "multi_scale"),
    [
        ([], [], torch.float32, False),
        ([], ["SOLVER.CPU_BFLOAT16", "True"], torch.bfloat16, False),
        ([], ["TEST.BFLOAT16", "True"], torch.bfloat16, False),
        ([], ["TEST.SRN_TTA.ENABLED", "True"], torch.float32, True),
        (["--no-bfloat16"], ["TEST.BFLOAT16", "True"], torch.float32, False),
        (["--no-multi-scale"], ["TEST.SRN_TTA.ENABLED", "True"], torch.float32, False),
        (["--multi-scale"], ["TEST.BFLOAT16", "True"], torch.bfloat16, True),
    ],
)
def test_the_configs_test_settings_are_obeyed(
    built_detector, options, overrides, dtype, multi_scale, introduction
):
    detector = built_detector(*options, *introduction, *overrides)
    assert (detector.dtype, is_multi_scale(detector)) == (dtype, multi_scale)


@pytest.mark.parametrize("device", [[], ["--device", "auto"], ["--device", "cuda"]])
def test_the_device_is_the_configs_unless_it_is_given(detect_model, monkeypatch, device):
    seen = {}

    def detector(model, **arguments):
        seen.update(arguments)
        return SimpleNamespace(runtime="onnx")

    monkeypatch.setattr("srn_d2.FaceDetector", detector)
    for has_cuda, expected in ((True, "cuda:1"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_cuda=has_cuda: has_cuda)
        files = ["--config-file", str(detect_model["config_file"]), *device]
        args = cli.parse_args(["detect", "a.jpg", *files, "MODEL.DEVICE", "cuda:1"])
        build_detector(args, 0.5)
        assert seen["device"] == (device[1] if device else expected)


def test_a_config_and_its_size(detect, tmp_path):
    """The sizes are of the network's input; boxes are in the picture's pixels."""
    picture = save_image(tmp_path / "a.png")
    overrides = ["INPUT.MIN_SIZE_TEST", 128, "INPUT.MAX_SIZE_TEST", 192]
    found = []
    for options in (["--size", "config", *overrides], ["--size", "192"], []):
        status, messages = detect(picture, *options)
        assert status == 0, messages
        [record] = json.loads((tmp_path / "out" / "faces.json").read_text())
        check_faces(record["faces"], 64, 96)
        found.append(np.array([face["bbox"] for face in record["faces"]]))
    by_config, by_pixels, original = found
    np.testing.assert_allclose(by_config, by_pixels, atol=0.1)
    assert np.abs(by_config - original).max() > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.jpg"], "absent.jpg"),
        (["a.png", "--weights", "absent.pth"], "absent.pth"),
        (["a.png", "--config-file", "absent.yaml"], "absent.yaml"),
        (["a.png", "--min-face-size", "-1"], "min_face_size"),
        (["a.png", "--output", "."], "overwritten"),
        (["a.png", "--output", "a.bmp"], "a.bmp is no folder"),
        (["a.png", "--output", "a.bmp/out"], "a.bmp is no folder"),
        (["a.png", "--weights", "a.bmp"], "a.bmp is no checkpoint"),
        (["a.png", "MODEL.SRN.RFF", "False"], "MODEL.SRN.RFE"),
        (["a.png", "MODEL.DEVICE"], "must be pairs"),
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


def test_overrides_without_a_config_file(tmp_path, caplog):
    picture = str(save_image(tmp_path / "a.png"))
    assert cli.main(["detect", picture, "MODEL.DEVICE", "cpu"]) == 2
    assert "MODEL.DEVICE cpu: KEY VALUE pairs need a --config-file" in caplog.text
