"""``srn-d2 export``."""

import re
import sys

import pytest
import torch

from benchmarks.variants import calibrate
from helpers.onnx_graphs import second_steps_of
from helpers.small_network import SMALL
from srn_d2 import cli
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.config import build_cfg
from srn_d2.engine import SRNTrainer
from srn_d2.export.onnx_predictor import OnnxFaceDetector
from srn_d2.export.parity import check_picture


@pytest.fixture(scope="module")
def model(repo_root, tmp_path_factory):
    """Options that name a config and random weights, with usual scores."""
    return save_model(repo_root, tmp_path_factory.mktemp("run"), "MODEL.SRN.RFE", False)


@pytest.fixture(scope="module")
def model_with_rfe(repo_root, tmp_path_factory):
    return save_model(repo_root, tmp_path_factory.mktemp("rfe"))


def save_model(repo_root, folder, *options):
    config = str(repo_root / "configs" / "srn_R18.yaml")
    cfg = build_cfg(config, [*SMALL, "MODEL.DEVICE", "cpu", *options])
    torch.manual_seed(0)
    network = SRNTrainer.build_model(cfg).eval()
    picture = torch.from_numpy(check_picture()[0].transpose(2, 0, 1).copy())
    images = network.preprocess_image([{"image": picture}])
    calibrate(network.head.cls_score, network.head.bbox_pred, lambda: network.detect(images))
    SRNCheckpointer(network, str(folder)).save("model_final")
    (folder / "config.yaml").write_text(cfg.dump())
    return ["--config-file", str(folder / "config.yaml"), "--weights", f"{folder}/model_final.pth"]


def export(*arguments):
    return cli.main(["export", *map(str, arguments)])


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as exit_info:
        export("--help")
    assert exit_info.value.code == 0
    assert "srn-d2 export --output lite.onnx" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "options", "nms", "threshold", "topk"),
    [
        # There is no sparse second step with RFE: the graph is dense.
        ("a.onnx", ["--threshold", 0.02, "--second-step", "auto"], True, 0.02, 2000),
        ("b.onnx", ["--no-nms", "MODEL.SRN.TOPK_CANDIDATES_TEST", 500], False, 0.0, 500),
    ],
)
def test_onnx(model, model_with_rfe, tmp_path, capsys, name, options, nms, threshold, topk):
    path = tmp_path / "new" / name
    model = model_with_rfe if "--second-step" in options else model
    assert export(*model, "--output", path, *options) == 0
    printed = capsys.readouterr().out
    assert f"{path}: " in printed
    assert int(re.search(r"(\d+) boxes", printed)[1]) > 10
    assert "largest differences" in printed
    metadata = OnnxFaceDetector(path).metadata
    assert (metadata.model, metadata.nms, metadata.graph_threshold) == ("config", nms, threshold)
    assert metadata.topk_candidates == topk
    assert second_steps_of(path) == []
    assert [file.name for file in path.parent.iterdir()] == [name]


def test_torchscript(model, tmp_path, capsys):
    path = tmp_path / "a.ts"
    assert export(*model, "--output", path, "--format", "torchscript") == 0
    assert "largest differences" in capsys.readouterr().out
    boxes, scores = torch.jit.load(path)(torch.zeros(1, 3, 40, 50, dtype=torch.uint8))
    assert boxes.shape == (*scores.shape, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "a.pth"], "ends with .onnx"),
        (["--output", "a.onnx", "--format", "torchscript"], "ends with .ts or .pt"),
        (["--output", "a.ts", "--format", "torchscript", "--no-nms"], "--no-nms"),
        (["--output", "a.onnx", "--no-nms", "--threshold", 0.1], "--threshold is of"),
        (["--output", "a.onnx", "--threshold", 2], "not between 0 and 1"),
        ([], "--output"),
    ],
)
def test_contradictions_are_named(capsys, options, message):
    with pytest.raises(SystemExit) as exit_info:
        export(*options)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_done_is_named(model, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    assert export(*model, "--output", tmp_path / "file" / "a.onnx") == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
    assert export("--model", "heavy", "--output", tmp_path / "a.onnx") == 2
    assert "heavy" in capsys.readouterr().err
    for package, advice in (
        ("onnx", "pip install 'srn_d2[export]'"),
        ("onnxruntime", "pip install onnxruntime"),
    ):
        with monkeypatch.context() as context:
            context.setitem(sys.modules, package, None)
            assert export(*model, "--output", tmp_path / "a.onnx") == 2
        assert advice in capsys.readouterr().err
        assert not (tmp_path / "a.onnx").exists()


def test_a_file_that_computes_something_else_is_an_error(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("srn_d2.export.parity.MAX_SCORE_DIFFERENCE", -1.0)
    assert export(*model, "--output", tmp_path / "a.onnx") == 1
    assert "does not compute" in capsys.readouterr().err
    assert OnnxFaceDetector(tmp_path / "a.onnx").metadata.graph_threshold == 0.05  # the default
