"""The released checkpoint's layout: every key accounted for, and every way to load the file."""

import json
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from helpers.plain_released_srn import random_checkpoint, released_shapes
from srn_d2.checkpoint import SRNCheckpointer, load_released_checkpoint
from srn_d2.checkpoint.released_weights import (
    ReleasedLayoutError,
    convert_released_weights,
    is_released_checkpoint,
    released_names,
)
from srn_d2.config import build_cfg


@pytest.fixture(scope="module")
def model(repo_root):
    config = repo_root / "configs" / "srn_R50_released.yaml"
    return build_model(build_cfg(str(config), ["MODEL.DEVICE", "cpu"])).eval()


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("convert_released_weights")


@pytest.fixture(scope="module")
def weights():
    return random_checkpoint()


@pytest.fixture
def tiny():
    """The layout's keys with values that tell the keys apart."""
    return {key: torch.tensor(float(i)) for i, key in enumerate(released_shapes())}


def with_prefix(weights):
    return {f"module.{key}": value for key, value in weights.items()}


def loads_strictly(model, path) -> dict[str, torch.Tensor]:
    """What ``model`` holds after loading ``path`` into zeroed weights."""
    for tensor in model.state_dict().values():
        tensor.zero_()
    SRNCheckpointer(model, strict=True).load(str(path))
    return model.state_dict()


def assert_holds(state, weights):
    names = released_names()
    assert len(state) == len(names)
    for released, ours in names.items():
        assert torch.equal(state[ours], weights[released]), released


def test_layout_is_the_released_one(shared_dir):
    """The restated shapes against the list of the real file."""
    path = shared_dir / "reference" / "released_checkpoint_layout.json"
    layout = {key: tuple(shape) for key, shape in json.loads(path.read_text()).items()}
    assert len(layout) == 418
    assert released_shapes() == layout
    assert set(released_names()) == {key for key in layout if "num_batches_tracked" not in key}


def test_names_are_a_bijection_onto_the_models_weights(model):
    names, shapes, state = released_names(), released_shapes(), model.state_dict()
    assert sorted(names.values()) == sorted(state)
    for released, ours in names.items():
        assert shapes[released] == tuple(state[ours].shape), released


@pytest.mark.parametrize(
    ("released", "ours"),
    [
        ("bn1.running_var", "backbone.bottom_up.stem.conv1.norm.running_var"),
        ("layer3.5.bn2.bias", "backbone.bottom_up.res4.5.conv2.norm.bias"),
        ("layer4.0.downsample.0.weight", "backbone.bottom_up.res5.0.shortcut.weight"),
        ("layer6.bias", "backbone.c7.bias"),
        ("c4_lateral.weight", "backbone.laterals.c4.weight"),
        ("c4_conv.weight", "backbone.first_step_convs.c4.weight"),
        ("p4_conv.weight", "backbone.outputs.p4.weight"),
        ("p6_conv.weight", "backbone.p6.weight"),
        ("box_subnet.2.branch1.2.weight", "head.bbox_subnet.2.branches.1.2.weight"),
        ("cls_subnet.2.cated_conv.0.weight", "head.cls_subnet.2.fuse.0.weight"),
        ("box_subnet_pred.bias", "head.bbox_pred.bias"),
    ],
)
def test_names(released, ours):
    assert released_names()[released] == ours


def test_a_missing_and_a_surplus_key_are_listed(tiny):
    tiny["cls_subnet.1.weight"] = tiny.pop("cls_subnet.0.weight")
    tiny["conv9.num_batches_tracked"] = tiny.pop("c7_conv.bias")
    with pytest.raises(ReleasedLayoutError) as error:
        convert_released_weights(tiny)
    message = str(error.value)
    assert "4 keys are unmatched" in message
    assert "cls_subnet.0.weight: missing in the file" in message
    assert "c7_conv.bias: missing in the file" in message
    assert "cls_subnet.1.weight: in the file, not in the released layout" in message
    assert "conv9.num_batches_tracked: in the file" in message


def test_batch_counters_are_dropped_and_may_lack(tiny):
    converted = convert_released_weights(tiny)
    assert not [name for name in converted if "num_batches_tracked" in name]
    without = {key: value for key, value in tiny.items() if "num_batches_tracked" not in key}
    assert len(without) == len(converted) == 365
    assert convert_released_weights(without) == converted


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        with_prefix,
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: OrderedDict(epoch=3, state_dict=OrderedDict(with_prefix(weights))),
    ],
    ids=["bare", "module", "state_dict", "state_dict of module"],
)
def test_wrappings_of_the_weights(tiny, tmp_path, wrap):
    torch.save(wrap(tiny), tmp_path / "SRN.pth")
    loaded = load_released_checkpoint(tmp_path / "SRN.pth")
    names = released_names()
    assert {ours: tiny[released] for released, ours in names.items()} == loaded


def test_a_prefix_on_some_keys_only_is_an_error(tiny):
    tiny["module.conv1.weight"] = tiny["conv1.weight"]
    with pytest.raises(
        ReleasedLayoutError, match=r"1 keys.*\n  module\.conv1\.weight: in the file"
    ):
        convert_released_weights(tiny)


def test_other_files_are_not_taken_for_it(tmp_path):
    assert not is_released_checkpoint({"state_dict": {"layer1.0.conv1.weight": 0, "fc.bias": 0}})
    assert not is_released_checkpoint({"head.cls_subnet.0.weight": 0})
    assert not is_released_checkpoint([1, 2])
    torch.save({"fc.bias": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(ReleasedLayoutError, match="no weights of the released layout"):
        load_released_checkpoint(tmp_path / "resnet.pth")


def test_nothing_in_the_file_is_executed(tiny, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (tmp_path.rmdir, ())

    torch.save({"state_dict": tiny, "extra": Harmful()}, tmp_path / "SRN.pth")
    with pytest.raises(pickle.UnpicklingError, match=r"[Ww]eights.only"):
        load_released_checkpoint(tmp_path / "SRN.pth")


def test_the_released_file_loads_directly(model, weights, tmp_path):
    """As old torch wrote it: not a zip file, from DataParallel."""
    path = tmp_path / "SRN.pth"
    checkpoint = {"state_dict": with_prefix(weights), "epoch": 130}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)
    assert_holds(loads_strictly(model, path), weights)


def test_an_incomplete_released_file_is_refused(model, tiny, tmp_path):
    del tiny["bn1.bias"]
    torch.save({"state_dict": with_prefix(tiny)}, tmp_path / "SRN.pth")
    with pytest.raises(ReleasedLayoutError, match=r"bn1\.bias: missing in the file"):
        SRNCheckpointer(model).load(str(tmp_path / "SRN.pth"))


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_the_converted_file_loads(tool, model, weights, tmp_path, suffix, capsys):
    source, target = tmp_path / "SRN.pth", tmp_path / "made" / f"srn_released{suffix}"
    torch.save({"state_dict": weights}, source)
    assert tool.main([str(source), str(target)]) == 0
    assert "365 weights" in capsys.readouterr().out
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert_holds(loads_strictly(model, target), weights)
    if suffix == ".pkl":
        content = pickle.loads(target.read_bytes())
        assert set(content) == {"model", "__author__"}
        assert all(type(value) is np.ndarray for value in content["model"].values())


def test_the_tool_says_what_is_wrong(tool, tiny, tmp_path, capsys):
    source, target = tmp_path / "SRN.pth", tmp_path / "srn.pkl"
    assert tool.main([str(source), str(target)]) == 2
    assert "SRN.pth" in capsys.readouterr().err

    source.write_bytes(b"no file of torch's")
    assert tool.main([str(source), str(target)]) == 2

    tiny["surplus"] = torch.zeros(1)
    torch.save(tiny, source)
    assert tool.main([str(source), str(target)]) == 2
    assert "surplus: in the file, not in the released layout" in capsys.readouterr().err
    assert not target.exists()

    with pytest.raises(SystemExit):
        tool.main([str(source), str(tmp_path / "srn.onnx")])
    assert "must end in .pkl or .pth" in capsys.readouterr().err
