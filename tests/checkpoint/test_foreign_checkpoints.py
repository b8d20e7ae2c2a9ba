"""Checkpoints as other code writes them: their weights load, or what hinders is named."""

import argparse
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.checkpoint.checkpointer import IncompatibleWeightsError, UnreadableWeightsError
from srn_d2.checkpoint.unmatched_keys import common_parts


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 2)
        self.head = nn.Linear(2, 1)


STATE = {name: torch.full_like(value, 7.0) for name, value in Net().state_dict().items()}
OTHER = {name: torch.zeros_like(value) for name, value in STATE.items()}


def prefixed(prefix):
    return {prefix + name: value for name, value in STATE.items()}


def load(path, **options):
    model = Net()
    SRNCheckpointer(model, **options).load(str(path))
    return model.state_dict()


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"model": STATE, "epoch": 3},
        {"state_dict": STATE, "epoch": 3, "arch": "net"},
        {"model_state_dict": STATE, "optimizer": {"state": {}, "param_groups": []}},
        {"net": STATE},
        {"my_weights": STATE, "epoch": 1},
        {"state_dict": OTHER, "ema": STATE},
        {"model": OTHER, "ema": {"module": STATE, "updates": 9}},
        {"model": OTHER, "model_ema": STATE},
        {"checkpoint": {"state_dict": STATE}},
        {**STATE, "epoch": 4, "name": "x"},
        prefixed("module."),
        {"state_dict": prefixed("model.")},
        {"state_dict": prefixed("_orig_mod.module.")},
        {"ema": {"n_averaged": torch.tensor(3), **prefixed("module.")}},
    ],
    ids=lambda content: "-".join(content)[:40],
)
@pytest.mark.parametrize("strict", [True, False])
def test_weights_are_found_wherever_they_are(tmp_path, content, strict):
    torch.save(content, tmp_path / "theirs.pth")
    for name, value in load(tmp_path / "theirs.pth", strict=strict).items():
        assert (value == 7).all(), name


@pytest.mark.parametrize("is_old_format", [False, True])
@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ({"args": argparse.Namespace(lr=0.1)}, "argparse.Namespace in args"),
        ({"folder": Path("x")}, r"pathlib\.\w+ in folder"),
        ({"hyper": {"deep": [Path("x")]}}, r"pathlib\.\w+ in hyper"),
    ],
)
def test_objects_are_named_and_the_two_lines_mend_the_file(tmp_path, extra, named, is_old_format):
    path = tmp_path / "theirs.pth"
    torch.save(
        {"state_dict": STATE, **extra}, path, _use_new_zipfile_serialization=not is_old_format
    )
    with pytest.raises(UnreadableWeightsError, match=named) as error:
        load(path)
    load(run_lines(str(error.value)), strict=True)


@pytest.mark.parametrize("wrap", [lambda net: net, lambda net: {"model": net, "epoch": 1}])
def test_a_pickled_module_is_named_and_the_two_lines_mend_the_file(tmp_path, wrap):
    torch.save(wrap(Net()), tmp_path / "theirs.pt")
    with pytest.raises(UnreadableWeightsError, match=r"test_foreign_checkpoints\.Net") as error:
        load(tmp_path / "theirs.pt")
    assert "may run code" in str(error.value)
    load(run_lines(str(error.value)), strict=True)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_torchscript_file_names_the_two_lines(tmp_path):
    torch.jit.script(Net().body).save(str(tmp_path / "net.pt"))
    with pytest.raises(UnreadableWeightsError, match="TorchScript") as error:
        load(tmp_path / "net.pt")
    weights = torch.load(run_lines(str(error.value)), weights_only=True)["model"]
    assert weights.keys() == {"weight", "bias"}


def run_lines(message):
    """Run the lines of a message; returns the file that they write."""
    code = "\n".join(line.strip() for line in message.splitlines()[1:])
    exec(code, {})
    return re.findall(r"'([^']+_weights\.pth)'", code)[-1]


def test_nothing_in_a_file_is_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("was run",)

    torch.save({"state_dict": STATE, "x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UnreadableWeightsError, match=r"print in x") as error:
        load(tmp_path / "evil.pth")
    assert "If you trust" in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        ((16).to_bytes(8, "little") + b'{"a":{}}        ', "safetensors"),
    ],
)
def test_files_of_other_kinds_are_called_by_their_name(tmp_path, content, message):
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(UnreadableWeightsError, match=rf"net\.pth is not loaded: .*{message}"):
        load(tmp_path / "net.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(2), "one Tensor"),
        ([1, 2], "one list"),
        ({"epoch": 3, "lr": 0.1}, "entries are epoch, lr"),
        ({}, "entries are none"),
    ],
)
def test_files_without_weights_are_named(tmp_path, content, message):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(UnreadableWeightsError, match=rf"net\.pth has no weights.*{message}"):
        load(tmp_path / "net.pth")


@pytest.mark.parametrize("strict", [True, False])
def test_weights_of_another_network_are_an_error(tmp_path, strict):
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, tmp_path / "resnet.pth")
    with pytest.raises(IncompatibleWeightsError, match=r"resnet\.pth has none .*conv1\.weight"):
        load(tmp_path / "resnet.pth", strict=strict)


def test_the_counters_of_batch_norms_are_no_weights_that_fit(tmp_path):
    torch.save({"state_dict": {"conv1.weight": torch.zeros(1)}}, tmp_path / "resnet.pth")
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3))
    with pytest.raises(IncompatibleWeightsError, match=r"resnet\.pth has none .*conv1\.weight"):
        SRNCheckpointer(model, strict=False).load(str(tmp_path / "resnet.pth"))


def test_missing_parts_are_one_line(tmp_path, caplog):
    body = {name: value for name, value in STATE.items() if name.startswith("body.")}
    torch.save({**body, "fc.weight": torch.zeros(1)}, tmp_path / "body.pth")
    with caplog.at_level("INFO"):
        load(tmp_path / "body.pth")
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("2 of the model's 4 weights are not in") for line in lines)
    assert any(line.endswith("keep their initial values: head.*") for line in lines)
    assert any("1 weights of the file are not in the model" in line for line in lines)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_common_parts_are_whole_modules():
    names = ["a.b.x", "a.b.y", "a.c.x", "d.x"]
    assert common_parts(["a.b.x", "a.b.y"], names) == ["a.b.*"]
    assert common_parts(["a.b.x"], names) == ["a.b.x"]
    assert common_parts(["a.b.x", "a.b.y", "a.c.x"], names) == ["a.*"]
    assert common_parts(names, names) == ["a.*", "d.*"]


def test_a_last_checkpoint_that_is_gone_is_named(tmp_path):
    (tmp_path / "last_checkpoint").write_text("model_9.pth")
    with pytest.raises(FileNotFoundError, match=r"last_checkpoint names model_9\.pth"):
        SRNCheckpointer(Net(), str(tmp_path)).resume_or_load("", resume=True)
