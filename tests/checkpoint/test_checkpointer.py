import pickle
import urllib.error

import pytest
import torch
from detectron2.utils.file_io import PathManager
from torch import nn

from srn_d2.checkpoint import SRNCheckpointer, pretrained_cache_path
from srn_d2.checkpoint.checkpointer import IncompatibleWeightsError, UnreadableWeightsError

R50 = "detectron2://ImageNetPretrained/torchvision/R-50.pkl"


class Counter:
    """Something with a state, as an optimizer is."""

    def __init__(self, count: int):
        self.count = count

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def test_round_trip_resumes_model_and_state(tmp_path):
    saved = nn.Linear(3, 2)
    SRNCheckpointer(saved, str(tmp_path), counter=Counter(5)).save("model_1", iteration=7)
    model, counter = nn.Linear(3, 2), Counter(0)
    checkpointer = SRNCheckpointer(model, str(tmp_path), counter=counter)
    extra = checkpointer.resume_or_load("", resume=True)
    assert torch.equal(model.weight, saved.weight)
    assert counter.count == 5
    assert extra["iteration"] == 7
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_1.pth"]


def test_an_untagged_file_is_not_resumed_from(tmp_path):
    checkpointer = SRNCheckpointer(nn.Linear(1, 1), str(tmp_path))
    checkpointer.save("model_1")
    checkpointer.save("model_best", tag=False)
    assert checkpointer.get_checkpoint_file() == str(tmp_path / "model_1.pth")


def test_a_failed_save_leaves_the_old_file_whole(tmp_path, monkeypatch):
    checkpointer = SRNCheckpointer(nn.Linear(1, 1), str(tmp_path))
    checkpointer.save("model")
    before = (tmp_path / "model.pth").read_bytes()

    def write_half(data, path):
        path.write_bytes(before[: len(before) // 2])
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", write_half)
    with pytest.raises(OSError, match="disk full"):
        checkpointer.save("model")
    assert (tmp_path / "model.pth").read_bytes() == before


def test_strict_lists_every_unmatched_key(tmp_path):
    state = {"weight": torch.zeros(5, 3), "surplus": torch.zeros(1)}
    torch.save({"model": state}, tmp_path / "other.pth")
    with pytest.raises(IncompatibleWeightsError) as error:
        SRNCheckpointer(nn.Linear(3, 2), strict=True).load(str(tmp_path / "other.pth"))
    message = str(error.value)
    assert "3 keys are unmatched" in message
    assert "bias: in the model, not in the file" in message
    assert "surplus: in the file, not in the model" in message
    assert "weight: (5, 3) in the file, (2, 3) in the model" in message
    SRNCheckpointer(nn.Linear(3, 2)).load(str(tmp_path / "other.pth"))  # only logged


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        SRNCheckpointer(nn.Linear(1, 1)).load(str(tmp_path / "nothing.pth"))


@pytest.mark.parametrize("name", ["model.pth", "model.pkl"])
@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff\xd8\xff\xe0", "cut"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, name, content):
    path = tmp_path / name
    torch.save(nn.Linear(9, 9).state_dict(), path)
    path.write_bytes(path.read_bytes()[:500] if content == "cut" else content)
    with pytest.raises(UnreadableWeightsError, match=rf"{name} is no checkpoint, or damaged: \w"):
        SRNCheckpointer(nn.Linear(1, 1)).load(str(path))


def test_without_network_the_message_says_which_file_goes_where(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))

    def no_network(path, **kwargs):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(PathManager, "get_local_path", no_network)
    with pytest.raises(FileNotFoundError) as error:
        SRNCheckpointer(nn.Linear(1, 1)).load(R50)
    assert "detectron2/ImageNetPretrained/torchvision/R-50.pkl" in str(error.value)
    assert str(pretrained_cache_path(R50)) in str(error.value)


def test_a_file_put_at_the_cache_path_is_found(tmp_path, monkeypatch, small_cfg):
    """The pretrained backbone loads from where the message says to put it."""
    from detectron2.modeling import build_model

    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    model = build_model(small_cfg())
    bottom_up = {
        name.removeprefix("backbone.bottom_up."): torch.full_like(value, 0.5).numpy()
        for name, value in model.state_dict().items()
        if name.startswith("backbone.bottom_up.") and value.ndim
    }
    path = pretrained_cache_path(R50)
    assert tmp_path in path.parents
    path.parent.mkdir(parents=True)
    payload = {"model": bottom_up, "__author__": "a test", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(payload))
    SRNCheckpointer(model).load(R50)
    for name, value in model.backbone.bottom_up.named_parameters():
        assert (value == 0.5).all(), name
