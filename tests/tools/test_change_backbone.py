"""tools/change_backbone.py with lite's weights, and crops of one photograph."""

import copy
import math

import change_backbone
import matplotlib.cbook
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from detectron2.structures import BoxMode
from PIL import Image

from linear_fit import LinearFit
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.config import build_cfg
from srn_d2.model_files import find_shipped_model

pytest.importorskip("timm", reason="timm is not installed: pip install timm")

LITE = find_shipped_model("lite")
PORTRAIT = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
FACE = [172, 130, 182, 200]  # XYWH


@pytest.fixture
def start(tmp_path):
    """Run the tool on lite's config with options; returns its status and the file it writes."""
    record = {"file_name": PORTRAIT, "image_id": 0, "height": 600, "width": 512}
    face = {"bbox": FACE, "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "ignore": False}
    DatasetCatalog.register("portrait", lambda: [{**record, "annotations": [face]}])

    def run(*options):
        output = tmp_path / "start.pth"
        argv = ["--config-file", str(LITE.config_file), "--output", str(output), "--crops", "12"]
        argv += [*options, "DATASETS.TRAIN", "('portrait',)", "INPUT.FACE_CROP_SIZE", "256"]
        argv += ["INPUT.FACE_SAMPLED_SIZES", "(8, 200)", "DATALOADER.NUM_WORKERS", "0"]
        return change_backbone.main(argv), output

    yield run
    DatasetCatalog.remove("portrait")


def load(weights, *opts):
    model = build_model(build_cfg(str(LITE.config_file), [*opts, "MODEL.DEVICE", "cpu"]))
    SRNCheckpointer(model, strict=True).load(str(weights))
    return model.eval()


def portrait():
    return torch.tensor(np.asarray(Image.open(PORTRAIT).convert("RGB"))[..., ::-1].copy())


@torch.no_grad()
def outputs(model):
    """Maps of both steps, of the portrait."""
    sample = {"image": portrait().permute(2, 0, 1)}
    return model.backbone(model.preprocess_image([sample]).tensor)


def relative_errors(model, trained):
    """Map -> root mean square of its difference, as a share of the standard deviation."""
    expected = outputs(trained)
    return {
        name: float((found - expected[name]).square().mean().sqrt() / expected[name].std())
        for name, found in outputs(model).items()
    }


@torch.no_grad()
def detections(model):
    """(N, 5): XYXY in pixels and score of each face above a score of 0.5."""
    sample = {"image": portrait().permute(2, 0, 1), "height": 600, "width": 512}
    [found] = model([sample])
    boxes, scores = found["instances"].pred_boxes.tensor, found["instances"].scores
    return torch.column_stack([boxes, scores])[scores > 0.5]


@pytest.fixture
def other_maps(tmp_path):
    """Lite's weights with another scale and offset in each channel of C2 and of C5.

    What reads C2 within the backbone is adapted, so that C3 and C4 stay; the convolutions of
    pyramid and first step are not.
    """
    weights = copy.deepcopy(load(LITE.weights).state_dict())
    net = {
        name.removeprefix("backbone.bottom_up.net."): value
        for name, value in weights.items()
        if name.startswith("backbone.bottom_up.net.")
    }
    generator = torch.Generator().manual_seed(7)

    def scale_and_offset(channels):
        scale = torch.randn(channels, generator=generator).exp()
        return scale, torch.randn(channels, generator=generator)

    scale, offset = scale_and_offset(24)
    for block in (0, 1):  # the second adds to the output of the first
        net[f"blocks.1.{block}.bn3.weight"] *= scale
        net[f"blocks.1.{block}.bn3.bias"] *= scale
    net["blocks.1.1.bn3.bias"] += offset
    for reader in ("blocks.1.1", "blocks.2.0"):
        net[f"{reader}.conv_pw.weight"] /= scale[:, None, None]
    kernel = net["blocks.2.0.conv_pw.weight"][:, :, 0, 0]
    net["blocks.2.0.bn1.running_mean"] += kernel @ offset
    scale, offset = scale_and_offset(320)
    net["blocks.6.0.bn3.weight"] *= scale
    net["blocks.6.0.bn3.bias"].mul_(scale).add_(offset)
    path = tmp_path / "other_maps.pth"
    torch.save({"model": weights}, path)
    return path


@pytest.mark.parametrize("stages", [(), ("--copy-stages", "2")], ids=["fits", "copied stages"])
def test_linear_changes_of_the_maps_leave_the_detections(start, other_maps, capsys, stages):
    status, output = start(*stages, "MODEL.WEIGHTS", str(other_maps))
    printed = capsys.readouterr().out.splitlines()
    assert status == 0
    assert ("laterals.c2: copied" in printed) == bool(stages)
    shares = [float(line.split()[-5]) for line in printed[:-1] if "copied" not in line]
    assert min(shares) > 99.9
    trained, changed, unfitted = (load(path) for path in (LITE.weights, output, other_maps))
    errors, errors_before = (relative_errors(model, trained) for model in (changed, unfitted))
    assert min(errors_before[name] for name in ("c2", "p2", "p5")) > 0.2, "nothing was to be fitted"
    assert max(errors.values()) < 0.03
    found, expected = detections(changed), detections(trained)
    assert len(found) == len(expected) == 1
    assert torch.allclose(found[:, :4], expected[:, :4], atol=1)
    assert torch.allclose(found[:, 4], expected[:, 4], atol=0.01)


def test_copied_stages_give_the_trained_maps_in_a_deeper_network(start, capsys):
    """EfficientNet-Lite2 has a block more in the second stage; its own weights are random."""
    deeper = ("MODEL.TIMM.NAME", "tf_efficientnet_lite2")
    status, output = start("--crops", "8", "--copy-stages", "2", "MODEL.WEIGHTS", "", *deeper)
    assert status == 0
    printed = capsys.readouterr().out.splitlines()
    copied = {line.split(":")[0] for line in printed if line.endswith("copied")}
    assert copied == {"laterals.c2", "first_step_convs.c2"}
    expected, changed = outputs(load(LITE.weights)), outputs(load(output, *deeper))
    assert torch.allclose(changed["c2"], expected["c2"], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(changed["c3"], expected["c3"], rtol=1e-3, atol=1e-3)
    unfrozen = load(output, *deeper, "MODEL.BACKBONE.FREEZE_AT", 0).train().backbone.bottom_up
    unfrozen(torch.rand(1, 3, 64, 64))["c2"].square().sum().backward()
    gradients = [weight.grad for weight in unfrozen.net.blocks[1][2].parameters()]
    assert any(x is not None and x.abs().max() > 0 for x in gradients), "the new block cannot learn"


def test_linear_fit_finds_the_map_and_its_share_of_the_variance():
    generator = torch.Generator().manual_seed(5)
    weight, bias = torch.randn(3, 5, generator=generator), torch.randn(3, generator=generator)
    exact, noisy = LinearFit(5, 3), LinearFit(5, 3)
    for height in (4, 7, 300):
        x = torch.randn(2, 5, height, 6, generator=generator) + 2
        y = torch.einsum("oi,nihw->nohw", weight, x) + bias[:, None, None]
        # Noise of three times the variance of y.
        noise = math.sqrt(3) * weight.norm(dim=1)[:, None, None]
        exact.add(x, y)
        noisy.add(x, y + noise * torch.randn(y.shape, generator=generator))
    found, found_bias, share = exact.solve()
    assert torch.allclose(found, weight, atol=0.01)
    assert torch.allclose(found_bias, bias, atol=0.02)
    assert share > 0.999
    assert noisy.solve()[2] == pytest.approx(0.25, abs=0.03)


def test_too_few_crops_are_refused(start, other_maps, capsys):
    status, output = start("--crops", "4", "MODEL.WEIGHTS", str(other_maps))
    assert status == 2
    assert "256 cells are too few to fit 321 unknowns" in capsys.readouterr().err  # of C5
    assert not output.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "heavy"], "heavy"),
        (["--copy-stages", "7"], "both backbones must be EfficientNets with more stages"),
        (
            [
                *("--copy-stages", "2", "MODEL.BACKBONE.NAME", "build_srn_resnet_fpn_backbone"),
                *("MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
                *("MODEL.FPN.IN_FEATURES", "['res2', 'res3', 'res4', 'res5']"),
            ],
            "both backbones must be EfficientNets",
        ),
        (
            ["--copy-stages", "1", "MODEL.TIMM.NAME", "tf_efficientnetv2_b0"],
            "blocks.1 begins with no inverted residual",
        ),
        (  # squeeze and excitation
            ["--copy-stages", "2", "MODEL.TIMM.NAME", "tf_efficientnet_b0"],
            "blocks.0.0.se.conv_reduce.weight has the shape (8, 32, 1, 1) in the new one, none in",
        ),
        (  # other padding
            ["--copy-stages", "2", "MODEL.TIMM.NAME", "efficientnet_lite0"],
            "with the same weights the two compute different maps",
        ),
        (
            ["MODEL.FPN.OUT_CHANNELS", "32"],
            "differ in more than the backbone: backbone.outputs.p2.0.weight has the shape (32, ",
        ),
        (["MODEL.SRN.STC_LEVELS", "['p2']"], "differ in more than the backbone: "),
        (
            ["MODEL.FPN.NORM", "GN", "MODEL.SRN.PYRAMID_CONVOLUTION", "plain"],
            "convolutions with a normalisation cannot be fitted",
        ),
    ],
)
def test_models_that_do_not_go_together_are_refused(start, capsys, options, message):
    options = [*options, "MODEL.WEIGHTS", ""]
    status, output = start(*options)
    assert status == 2
    assert message in capsys.readouterr().err
    assert not output.exists()
