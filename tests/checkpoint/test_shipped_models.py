"""Models that come with the package: made by tools/package_weights.py, checked when loaded."""

import functools
import json
import re

import onnx
import pytest
import torch

from helpers.detections import assert_same_detections
from srn_d2 import FaceDetector
from srn_d2.checkpoint import AVERAGE, SRNCheckpointer, shipped_models
from srn_d2.checkpoint.shipped_models import (
    WeightsHashError,
    find_shipped_model,
    save_shipped_model,
    shipped_model_names,
    to_half_precision,
)
from srn_d2.config import build_cfg
from srn_d2.engine import SRNTrainer
from srn_d2.inference import detector

TINY = ("--model", "tiny", "--no-graph")


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("package_weights")


@pytest.fixture(scope="module")
def config_file(repo_root, tmp_path_factory):
    """A tiny model, in a config that builds on another file."""
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(
        f"_BASE_: {repo_root / 'configs' / 'srn_R18.yaml'}\n"
        "MODEL:\n  FPN: {OUT_CHANNELS: 16}\n"
        "  SRN: {C6_CHANNELS: 16, C7_CHANNELS: 16, PREDICTION_INIT_STD: 0.001}\n"
        "  RESNETS: {DEPTH: 50, STEM_OUT_CHANNELS: 8, RES2_OUT_CHANNELS: 16, WIDTH_PER_GROUP: 8}\n"
        "TEST: {DETECTIONS_PER_IMAGE: 20}\n"
    )
    return path


@pytest.fixture(scope="module")
def training(config_file, tmp_path_factory):
    """A checkpoint of a model whose weights are random, and their average, other random ones."""
    folder = tmp_path_factory.mktemp("training")
    torch.manual_seed(0)
    cfg = build_cfg(str(config_file), ["MODEL.DEVICE", "cpu"])
    model, other = SRNTrainer.build_model(cfg), SRNTrainer.build_model(cfg)
    average = torch.optim.swa_utils.AveragedModel(other)
    checkpointer = SRNCheckpointer(model, str(folder), **{AVERAGE: average})
    checkpointer.save("model_final", iteration=41)
    return folder / "model_final.pth", other.state_dict()


@pytest.fixture(scope="module")
def package(tool, config_file, training, tmp_path_factory):
    """The folder that the tool has written."""
    folder = tmp_path_factory.mktemp("weights")
    arguments = [
        str(training[0]),
        "--config-file",
        str(config_file),
        "--model",
        "tiny",
        "--no-graph",
    ]
    assert tool.main([*arguments, "--output", str(folder)]) == 0
    return folder


def test_the_tool_stores_the_averaged_weights_in_half_precision(package, training):
    assert shipped_model_names(package) == ["tiny"]
    model = find_shipped_model("tiny", package)
    stored = torch.load(model.weights, weights_only=True)
    expected = to_half_precision(training[1])
    assert stored["model"].keys() == expected.keys()
    for key, tensor in stored["model"].items():
        assert torch.equal(tensor, expected[key]), key
    dtypes = {tensor.dtype for tensor in stored["model"].values() if tensor.ndim > 1}
    assert dtypes == {torch.float16}
    assert stored["metadata"]["iteration"] == 41
    index = json.loads((package / "tiny.json").read_text())
    assert index["source"] == {k: v for k, v in stored["metadata"].items() if k != "name"}
    assert index["bytes"] == model.weights.stat().st_size


def test_the_config_stands_alone_and_names_no_other_file(package, repo_root):
    text = (package / "tiny.yaml").read_text()
    assert "_BASE_" not in text
    assert str(repo_root) not in text
    cfg = build_cfg(str(package / "tiny.yaml"))
    assert cfg.MODEL.FPN.OUT_CHANNELS == 16
    assert cfg.MODEL.WEIGHTS == ""


def test_the_detector_loads_it_by_name(package, training, monkeypatch, tmp_path):
    find = functools.partial(find_shipped_model, folder=package)
    monkeypatch.setattr(detector, "find_shipped_model", find)
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    options = {"device": "cpu", "score_threshold": 0.0}
    faces = FaceDetector("tiny", **options)(image)
    rounded = tmp_path / "rounded.pth"
    torch.save(
        {"model": {k: v.float() for k, v in to_half_precision(training[1]).items()}}, rounded
    )
    same = FaceDetector(config_file=package / "tiny.yaml", weights=rounded, **options)(image)
    assert_same_detections(faces, same)


def test_the_same_weights_give_the_same_file(package, tool, config_file, training, tmp_path):
    arguments = [
        str(training[0]),
        "--config-file",
        str(config_file),
        "--model",
        "tiny",
        "--no-graph",
    ]
    assert tool.main([*arguments, "--output", str(tmp_path)]) == 0
    for name in ("tiny.json", "tiny.pth", "tiny.yaml"):
        assert (tmp_path / name).read_bytes() == (package / name).read_bytes()


# A further checkpoint may lack parts, such as the first step of a RetinaNet: the first one's stay.
@pytest.mark.parametrize("lacking", [(), "backbone.first_step_convs."])
def test_of_several_checkpoints_it_stores_the_mean(tool, config_file, training, tmp_path, lacking):
    other = {k: v + 1 for k, v in training[1].items() if not k.startswith(lacking)}
    assert (len(other) < len(training[1])) == bool(lacking)
    torch.save({"model": other}, tmp_path / "other.pth")
    checkpoints = [str(training[0]), str(tmp_path / "other.pth")]
    arguments = [
        "--config-file",
        str(config_file),
        "--model",
        "tiny",
        "--no-graph",
        "--output",
        str(tmp_path),
    ]
    assert tool.main([*checkpoints, *arguments]) == 0
    model = find_shipped_model("tiny", tmp_path)
    assert model.source["checkpoint"] == ["model_final.pth", "other.pth"]
    assert model.source["iteration"] == 41
    mean = {
        name: tensor + 0.5 if tensor.is_floating_point() and name in other else tensor
        for name, tensor in training[1].items()
    }
    stored = torch.load(model.weights, weights_only=True)["model"]
    for name, tensor in to_half_precision(mean).items():
        torch.testing.assert_close(stored[name], tensor, msg=name)


@pytest.mark.parametrize("misfit", ["backbone.p8.weight", "head.cls_score.bias"])
def test_a_further_checkpoint_of_another_network_is_refused(
    tool, config_file, training, tmp_path, capsys, misfit
):
    torch.save({"model": {**training[1], misfit: torch.zeros(7)}}, tmp_path / "other.pth")
    checkpoints = [str(training[0]), str(tmp_path / "other.pth")]
    arguments = ["--config-file", str(config_file), *TINY]
    assert tool.main([*checkpoints, *arguments, "--output", str(tmp_path / "weights")]) == 2
    assert misfit in capsys.readouterr().err
    assert not (tmp_path / "weights").exists()


def test_iterations_of_earlier_trainings_are_told(tool, config_file, training, tmp_path):
    arguments = [
        str(training[0]),
        "--config-file",
        str(config_file),
        "--model",
        "tiny",
        "--no-graph",
    ]
    for more, told in (
        ([], ""),
        (["--iterations-before", "9000"], " after 9,000 of earlier trainings"),
    ):
        assert tool.main([*arguments, *more, "--output", str(tmp_path)]) == 0
        described = find_shipped_model("tiny", tmp_path).describe_training()
        assert re.fullmatch(rf"iteration 42 of [\d,]+{told}", described)


@pytest.mark.slow
@pytest.mark.numerics
def test_the_graph_of_a_model_finds_the_same_faces(package, tool, tmp_path, monkeypatch):
    folder = copy(package, tmp_path)
    assert tool.main(["--model", "tiny", "--output", str(folder)]) == 0
    model = find_shipped_model("tiny", folder)
    constants = sum(x.ByteSize() for x in onnx.load(model.graph).graph.initializer)
    assert constants < 1.2 * model.weights.stat().st_size
    monkeypatch.setattr(
        detector, "find_shipped_model", functools.partial(find_shipped_model, folder=folder)
    )
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    options = {"device": "cpu", "score_threshold": 0.0}
    found, expected = (
        FaceDetector("tiny", runtime=name, **options)(image) for name in ("auto", "torch")
    )
    assert_same_detections(
        found, expected, box_tolerance=0.05, score_tolerance=1e-4, max_detections=20
    )
    model.graph.write_bytes(model.weights.read_bytes())
    with pytest.raises(WeightsHashError, match=r"tiny\.onnx is damaged"):
        FaceDetector("tiny", **options)
    assert find_shipped_model("tiny", folder, with_graph=False).graph is None
    model.graph.unlink()
    with pytest.raises(FileNotFoundError, match=r"tiny\.onnx"):
        FaceDetector("tiny", **options)


def test_a_model_without_a_graph_runs_in_pytorch(package, monkeypatch):
    monkeypatch.setattr(
        detector, "find_shipped_model", functools.partial(find_shipped_model, folder=package)
    )
    assert FaceDetector("tiny", device="cpu").runtime == "torch"
    with pytest.raises(ValueError, match=r"'tiny' has no graph: tools/package_weights\.py"):
        FaceDetector("tiny", runtime="onnx")


@pytest.mark.parametrize(
    "arguments", [["a.pth"], ["--config-file", "a.yaml"], ["--no-graph"]], ids=str
)
def test_a_checkpoint_and_its_config_belong_together(tool, arguments):
    with pytest.raises(SystemExit):
        tool.main([*arguments, "--model", "tiny"])


def copy(package, folder):
    for path in package.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_other_weights_are_refused(package, tmp_path):
    folder = copy(package, tmp_path)
    content = bytearray((folder / "tiny.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "tiny.pth").write_bytes(content)
    with pytest.raises(WeightsHashError, match="SHA-256"):
        find_shipped_model("tiny", folder)


@pytest.mark.parametrize("name", ["tiny.json", "tiny.pth", "tiny.yaml"])
def test_a_missing_file_is_named(package, tmp_path, name):
    folder = copy(package, tmp_path)
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
        find_shipped_model("tiny", folder)


def test_an_unknown_model_tells_the_known_ones(package):
    with pytest.raises(FileNotFoundError, match=r"'heavy'.*\['tiny'\]"):
        find_shipped_model("heavy", package)


def test_what_does_not_fit_in_half_precision_or_in_the_package_is_refused(
    config_file, tmp_path, monkeypatch
):
    cfg = build_cfg(str(config_file))
    with pytest.raises(ValueError, match=r"conv\.weight"):
        save_shipped_model("a", {"conv.weight": torch.full((2, 2), 1e6)}, cfg, {}, tmp_path)
    monkeypatch.setattr(shipped_models, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="1000"):
        save_shipped_model("a", {"conv.weight": torch.zeros(40, 40)}, cfg, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_vectors_keep_their_precision():
    weights = {"var": torch.tensor([1e-9, 1e6]), "count": torch.tensor(7)}
    converted = to_half_precision(weights)
    assert all(torch.equal(converted[key], weights[key]) for key in weights)


def test_a_checkpoint_of_another_model_is_refused(tool, repo_root, training, tmp_path, capsys):
    config = str(repo_root / "configs" / "srn_R18.yaml")
    arguments = [str(training[0]), "--config-file", config, *TINY]
    assert tool.main([*arguments, "--output", str(tmp_path)]) == 2
    assert "do not fit" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_graph_of_lite_is_about_as_large_as_its_weights():
    model = find_shipped_model("lite")
    assert model.graph.stat().st_size < 1.2 * model.weights.stat().st_size
