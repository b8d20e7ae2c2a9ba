"""tools/benchmark.py: every command really run, on a tiny network."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.small_network import SMALL
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.engine import SRNTrainer

OPTS = (*map(str, SMALL), "MODEL.SRN.RFE", "False", "SOLVER.CPU_BFLOAT16", "False")


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("benchmark")


@pytest.fixture
def run(tool, repo_root, tmp_path):
    """``run("loader", "--repeats", "1")`` gives the exit status; results are in tmp_path/out."""

    def main(*arguments):
        config = str(repo_root / "configs" / "srn_R18.yaml")
        common = ["--config-file", config, "--device", "cpu", "--output", str(tmp_path / "out")]
        return tool.main([*arguments, *common, *OPTS])

    return main


@pytest.fixture
def read(tmp_path):
    """What a command wrote: its JSON; pictures are checked to be pictures."""

    def result(command, *pictures):
        folder = tmp_path / "out"
        for name in pictures:
            with Image.open(folder / name) as picture:
                assert picture.format == "PNG"
            assert f"]({name})" in (folder / "report.md").read_text()
        assert not list(folder.glob(".*"))  # no drafts
        return json.loads((folder / f"{command}.json").read_text())

    return result


def test_inference(run, read, tmp_path, capsys):
    variants = ["authors", "dense", "sparse", "retinanet"]
    options = ["--variants", *variants, "--active-share", "0.1", "1.0", "--batch-size", "2"]
    assert run("inference", *options, "--image-size", "64", "96", "--repeats", "2") == 0
    assert str(tmp_path / "out" / "report.md") in capsys.readouterr().out
    result = read("inference", "inference.png", "speedup_by_share.png")
    assert [case["name"] for case in result["cases"]] == ["10 % active", "100 % active"]
    for case, share in zip(result["cases"], (0.1, 1.0), strict=True):
        assert case["active_share"] == pytest.approx(share, abs=0.01)
        assert list(case["variants"]) == variants
        assert list(case["speedups"]) == ["authors", "dense", "retinanet"]
        for measured in case["variants"].values():
            assert len(measured["seconds"]) == 2
            assert min(measured["seconds"]) > 0
            assert measured["memory_peak"] > 0
    few, all_active = (
        {n: sum(v["macs"].values()) for n, v in c["variants"].items()} for c in result["cases"]
    )
    assert few["sparse"] < few["dense"] == all_active["dense"] < few["authors"]
    assert result["environment"]["threads"] == torch.get_num_threads()
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| retinanet" in report
    assert "### 10 % active" in report
    second_step = [v["macs"]["second-step heads"] for v in result["cases"][0]["variants"].values()]
    assert f"| sparse    | 10 % active  | {100 * second_step[2] / second_step[1]:.3g} " in report


def test_given_images(run, read, tmp_path, small_cfg):
    torch.manual_seed(0)
    model = SRNTrainer.build_model(small_cfg("MODEL.SRN.RFE", False))
    SRNCheckpointer(model, str(tmp_path)).save("model")
    for index in range(3):
        pixels = np.random.default_rng(index).integers(0, 255, (70, 90, 3), np.uint8)
        (tmp_path / "pictures" / "deeper").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "pictures" / "deeper" / f"{index}.png")
    options = ["--weights", str(tmp_path / "model.pth"), "--images", str(tmp_path / "pictures")]
    options += [
        "--num-images",
        "2",
        "--repeats",
        "1",
        "--warmup",
        "0",
        "--variants",
        "dense",
        "auto",
    ]
    assert run("inference", *options) == 0
    result = read("images", "images.png")
    assert "active share" not in result["settings"]  # it had no effect
    assert [row["name"] for row in result["images"]] == ["0.png", "2.png"]
    assert {(row["height"], row["width"]) for row in result["images"]} == {(70, 90)}
    share = result["active_share"]
    assert 0 <= share["least"] <= share["median"] <= share["most"] <= 1
    times = [row["seconds"] for row in result["images"]]
    total = result["total_speedups"]["dense"]["auto"]
    assert total == pytest.approx(sum(t["dense"] for t in times) / sum(t["auto"] for t in times))
    ratios = sorted(t["dense"] / t["auto"] for t in times)
    speedup = result["speedups"]["dense"]["auto"]
    assert [speedup["least"], speedup["most"]] == pytest.approx(ratios)
    assert speedup["mean"] == pytest.approx(sum(ratios) / 2)
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| auto : dense" in report


def test_growth(run, read):
    options = ["--sides", "64", "128", "--faces", "1", "20", "--active-share", "0.2"]
    options += ["--variants", "dense", "auto", "--image-size", "96", "128", "--repeats", "1"]
    assert run("growth", *options) == 0
    result = read("growth", "growth_side.png", "growth_faces.png")
    assert [point["side"] for point in result["side"]] == [64, 128]
    assert [point["faces"] for point in result["faces"]] == [1, 20]
    assert result["side"][1]["active_share"] == pytest.approx(0.2, abs=0.01)
    assert result["faces"][0]["active_share"] < result["faces"][1]["active_share"]
    memory = [point["variants"]["dense"]["memory_added"] for point in result["side"]]
    assert memory[1] > 0


def test_training(run, read, tmp_path):
    options = [
        "--image-size",
        "64",
        "64",
        "--faces",
        "5",
        "--memory-faces",
        "3",
        "9",
        "--repeats",
        "1",
    ]
    assert run("training", *options) == 0
    result = read("training", "training.png", "training_memory.png")
    assert [point["faces"] for point in result["memory"]] == [3, 9]
    assert len(result["seconds"]) == 1
    stages = result["stages"]
    targets = stages["matching"] + stages["losses"] + stages["losses, backward"]
    assert result["matching_and_losses_share"] == pytest.approx(targets / sum(stages.values()))
    profile = (tmp_path / "out" / "training_profile.txt").read_text()
    assert "convolution_backward" in profile


def test_loader(run, read):
    assert run("loader", "--image-size", "60", "80", "--repeats", "1") == 0
    result = read("loader", "loader.png")
    assert result["images"] == 16
    assert result["images_per_second"] > 0
    assert {"decoding", "PhotometricDistortion", "ResizeSquare"} <= set(result["stages"])
    assert result["crop_size"] == 320


def test_loader_of_a_dataset(run, read, tiny_datasets, monkeypatch):
    from srn_d2.data import register_builtin_datasets

    monkeypatch.setenv("DETECTRON2_DATASETS", str(tiny_datasets))
    register_builtin_datasets()
    assert run("loader", "--dataset", "--repeats", "1") == 0
    assert read("loader")["source"] == "widerface_train"


def test_all_commands_share_a_report(run, tmp_path):
    for command in ("loader", "growth"):
        options = ["--image-size", "64", "64", "--repeats", "1"]
        if command == "growth":
            options += ["--sides", "--faces", "3", "--variants", "dense"]
        assert run(command, *options) == 0
    report = (tmp_path / "out" / "report.md").read_text()
    growth, loader = (report.index(f"## {x}") for x in ("Growth", "Training images"))
    assert growth < loader
    assert "growth_side.png" not in report  # no sides were asked for


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["inference", "--images", "nowhere"], "there is no nowhere"),
        (["inference", "--weights", "nowhere.pth"], "nowhere.pth"),
        (
            [
                "inference",
                "--active-share",
                "1.5",
                "--variants",
                "dense",
                "--image-size",
                "64",
                "64",
            ],
            "1.5",
        ),
        (["loader", "--repeats", "0"], "repeats"),
    ],
)
def test_what_is_wrong_is_said(run, tmp_path, capsys, options, message):
    assert run(*options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_missing_config_is_named(tool, capsys):
    assert tool.main(["loader", "--config-file", "nowhere.yaml"]) == 2
    assert "nowhere.yaml" in capsys.readouterr().err


def test_threads(run, read):
    before = torch.get_num_threads()
    try:
        assert run("loader", "--threads", "2", "--image-size", "60", "80", "--repeats", "1") == 0
        assert read("loader")["environment"]["threads"] == 2
    finally:
        torch.set_num_threads(before)


def test_default_variants_by_what_the_device_has(tool, monkeypatch):
    args = tool.parse_args(["inference"])
    float32 = ["authors", "dense", "sparse", "auto", "retinanet"]
    in_bfloat16 = ["dense-bf16", "auto-bf16"]
    for units, has_onnx, more in (
        ([], False, []),
        (["AMX"], False, in_bfloat16),
        (["AMX"], True, [*in_bfloat16, "onnxruntime"]),
    ):
        monkeypatch.setattr(tool, "bfloat16_units", lambda device, units=units: units)
        monkeypatch.setattr(tool, "is_available", lambda device, has_onnx=has_onnx: has_onnx)
        assert tool.variant_names(args, torch.device("cpu")) == float32 + more
