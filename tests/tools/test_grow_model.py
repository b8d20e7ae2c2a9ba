"""tools/grow_model.py from lite's weights."""

import grow_model
import matplotlib.cbook
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.config import build_cfg
from srn_d2.model_files import find_shipped_model

pytest.importorskip("timm", reason="timm is not installed: pip install timm")

LITE = find_shipped_model("lite")
PORTRAIT = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
LARGER = ("MODEL.TIMM.NAME", "tf_efficientnet_lite2", "MODEL.FPN.OUT_CHANNELS", "72")
"""Wider and deeper in the backbone, wider in pyramid and head."""


def grow(tmp_path, *opts):
    output = tmp_path / "start.pth"
    argv = ["--config-file", str(LITE.config_file), "--output", str(output), *opts]
    return grow_model.main(argv), output


def load(weights, *opts):
    model = build_model(build_cfg(str(LITE.config_file), [*opts, "MODEL.DEVICE", "cpu"]))
    SRNCheckpointer(model, strict=True).load(str(weights))
    return model.eval()


@torch.no_grad()
def detections(model):
    """(N, 5): XYXY in pixels and score of each face above a score of 0.05."""
    pixels = np.asarray(Image.open(PORTRAIT).convert("RGB")).transpose(2, 0, 1).copy()
    [found] = model([{"image": torch.tensor(pixels), "height": 600, "width": 512}])
    boxes, scores = found["instances"].pred_boxes.tensor, found["instances"].scores
    return torch.column_stack([boxes, scores])[scores > 0.05]


def test_the_larger_network_finds_the_same_and_all_of_it_can_learn(tmp_path):
    status, output = grow(tmp_path, *LARGER)
    assert status == 0
    found, expected = detections(load(output, *LARGER)), detections(load(LITE.weights))
    assert len(found) == len(expected) >= 1
    assert torch.allclose(found[:, :4], expected[:, :4], atol=0.1)
    assert torch.allclose(found[:, 4], expected[:, 4], atol=0.002)

    model = load(output, *LARGER, "MODEL.BACKBONE.FREEZE_AT", 0).train()
    image = torch.randint(256, (3, 64, 64)).byte()
    with torch.enable_grad():
        sum(x.square().sum() for x in grow_model.predictions(model, image)).backward()
    for name, weight in model.named_parameters():
        if weight.requires_grad and name.endswith((".conv_pwl.weight", "_subnet.0.1.weight")):
            gradients = weight.grad.flatten(1).abs().amax(dim=1)
            assert (gradients > 0).any(), f"{name} cannot learn"
    added = model.backbone.bottom_up.net.blocks[1][2]
    assert added.conv_pwl.weight.abs().max() == 0
    assert added.conv_pwl.weight.grad.abs().max() > 0
    lateral = model.backbone.outputs["p2"][1].weight  # (72, 72, 1, 1), of 64 trained channels
    assert lateral[:64, 64:].abs().max() == 0
    assert lateral.grad[:64, 64:].abs().max() > 0


@given(
    old=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    more=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    seed=st.integers(0, 2**16),
)
def test_first_outputs_do_not_depend_on_added_inputs(old, more, seed):
    generator = torch.Generator().manual_seed(seed)
    (outputs, inputs), (more_outputs, more_inputs) = old, more
    trained = torch.randn(outputs, inputs, 3, 3, generator=generator)
    grown = torch.randn(outputs + more_outputs, inputs + more_inputs, 3, 3, generator=generator)
    added_before = grown[outputs:].clone()
    grow_model.fill_first_channels("conv", grown, trained)
    x = torch.randn(1, inputs + more_inputs, 5, 5, generator=generator)
    expected = F.conv2d(x[:, :inputs], trained)
    assert torch.allclose(F.conv2d(x, grown)[:, :outputs], expected, atol=1e-4)
    assert torch.equal(grown[outputs:], added_before)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (
            ["MODEL.FPN.OUT_CHANNELS", "32"],
            "backbone.laterals.c2.weight has the shape (32, 24, 1, 1) in the config's network, "
            "(64, 24, 1, 1) in the trained one, which is to fit into it",
        ),
        (["MODEL.SRN.RFE", "True"], "in the config's network, none in the trained one"),
        (["MODEL.SRN.STC_LEVELS", "[]"], "is absent from the larger one"),
        (  # other padding
            ["MODEL.TIMM.NAME", "efficientnet_lite0"],
            "with the same weights the two networks predict differently",
        ),
        (["MODEL.TIMM.NAME", "resnet18"], "conv1.weight has the shape"),
        (["MODEL.NO_SUCH_KEY", "1"], "NO_SUCH_KEY"),
    ],
)
def test_networks_that_do_not_go_together_are_refused(tmp_path, capsys, opts, message):
    status, output = grow(tmp_path, *opts)
    assert status == 2
    assert message in capsys.readouterr().err
    assert not output.exists()
