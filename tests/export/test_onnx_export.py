"""ONNX and TorchScript files compute what the model does, for any size and batch."""

import json

import numpy as np
import onnx
import pytest
import torch
from torchvision.ops import box_iou

from helpers.onnx_graphs import second_steps_of
from helpers.small_network import SMALL
from srn_d2 import __version__
from srn_d2.checkpoint.shipped_models import find_shipped_model
from srn_d2.config import build_cfg
from srn_d2.export.array_postprocessing import level_cells
from srn_d2.export.exportable import ExportableModel, NotExportableError
from srn_d2.export.metadata import ExportMetadata
from srn_d2.export.onnx_export import export_onnx
from srn_d2.export.onnx_predictor import open_session
from srn_d2.export.parity import check_picture, onnx_parity, torchscript_parity
from srn_d2.export.torchscript_export import METADATA_FILE, export_torchscript
from srn_d2.modeling.postprocessing import scores_by_size

# N, H, W: odd sides, sides below a stride of the network, multiples of 32.
SHAPES = [(1, 131, 97), (2, 97, 131), (1, 64, 96), (2, 33, 200), (1, 5, 7), (1, 1, 1)]
DENSE = [
    *("MODEL.DEVICE", "cpu", "SOLVER.CPU_BFLOAT16", False, "MODEL.SRN.SECOND_STEP", "dense"),
]
# Config -> whether the graph ends with NMS, further options. Of random first-step scores theta
# takes only some away.
CONFIGS = {
    "srn_R50.yaml": (
        False,
        [*SMALL, "MODEL.SRN.STC_THRESHOLD", 0.98, "MODEL.SRN.SCORE_SIZE_EXPONENT_TEST", 0.5],
    ),
    "srn_R50_released.yaml": (True, [*SMALL, "MODEL.SRN.STC_THRESHOLD", 0.98]),
    "ablation/retinanet.yaml": (False, SMALL),
    "srn_R18.yaml": (
        True,
        [
            *("MODEL.FPN.NORM", "GN", "MODEL.FPN.OUT_CHANNELS", 64, "INPUT.FORMAT", "BGR"),
            *("MODEL.SRN.C6_CHANNELS", 64, "MODEL.SRN.C7_CHANNELS", 64, "MODEL.SRN.RFE", False),
            *("MODEL.SRN.BOX_VOTING_IOUS_TEST", [0.6, 0.8]),
            *("MODEL.SRN.SCORE_SIZE_EXPONENT_TEST", 0.5),
        ],
    ),
}


def cut(image, shape, seed=0):
    """N patches (N, H, W, 3) of an image, from random places."""
    rng = np.random.default_rng(seed)
    num_images, height, width = shape
    tops = rng.integers(0, image.shape[0] - height + 1, num_images)
    lefts = rng.integers(0, image.shape[1] - width + 1, num_images)
    patches = zip(tops, lefts, strict=True)
    return np.stack([image[y : y + height, x : x + width] for y, x in patches])


@pytest.mark.parametrize("nms", [True, False])
def test_the_shipped_model_is_the_same_on_a_photograph(lite, lite_files, photograph, nms):
    parity = onnx_parity(lite, lite_files[nms], photograph[None])
    assert parity.is_close, parity
    assert parity.num_found > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shipped_model_is_the_same_for_all_sizes(lite, lite_files, photograph, shape):
    images = cut(photograph, shape)
    for path in lite_files.values():
        parity = onnx_parity(lite, path, images)
        assert parity.is_close, (path, parity)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.slow
def test_other_networks_are_the_same(make_exportable, repo_root, tmp_path, config):
    nms, options = CONFIGS[config]
    cfg = build_cfg(str(repo_root / "configs" / config), [*DENSE, *options])
    model = make_exportable(cfg)
    path = tmp_path / "a.onnx"
    # Without STC there are no survivors to compute a second step for.
    second_step = "dense" if cfg.MODEL.SRN.STC_LEVELS else "auto"
    export_onnx(model, path, nms=nms, score_threshold=0.0, second_step=second_step)
    assert second_steps_of(path) == []
    picture = check_picture()[:, :303, :251]
    for images in (picture, cut(picture[0], (2, 31, 63))):
        parity = onnx_parity(model, path, images)
        assert parity.is_close, (images.shape, parity)
        assert parity.num_found > 3
    if nms:
        return
    _, scores = open_session(path).run(None, {"images": picture.transpose(0, 3, 1, 2)})
    share_taken = (scores == 0).mean()
    assert (0 < share_taken < 1) if cfg.MODEL.SRN.STC_LEVELS else share_taken == 0
    metadata = model.metadata(nms=False, score_threshold=0.0)
    assert sum(level_cells(picture.shape[1:3], metadata)) * 2 == scores.shape[1]


def test_the_file_says_what_it_is(lite, lite_files):
    shipped = find_shipped_model("lite")
    for nms, path in lite_files.items():
        graph = onnx.load(path)
        onnx.checker.check_model(graph, full_check=True)
        properties = {entry.key: entry.value for entry in graph.metadata_props}
        metadata = ExportMetadata.from_properties(properties)
        assert metadata == lite.metadata(nms=nms, score_threshold=0.05)
        assert metadata.model == "lite"
        assert metadata.weights_sha256 == shipped.sha256
        assert metadata.project_version == __version__
        assert metadata.class_names == ("face",)
        assert metadata.nms is nms
        assert metadata.graph_threshold == (0.05 if nms else 0.0)
        [images] = graph.graph.input
        assert images.name == "images"
        dims = images.type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", 3, "height", "width"]
        names = ["boxes", "scores", "image_index"] if nms else ["boxes", "scores"]
        assert [output.name for output in graph.graph.output] == names


def test_the_threshold_in_the_graph_leaves_the_better_detections(lite, lite_files, photograph):
    images = {"images": photograph[None, :200, 100:400].transpose(0, 3, 1, 2)}
    boxes, scores, _ = open_session(lite_files[True]).run(None, images)
    [dense_boxes], [dense_scores] = open_session(lite_files[False]).run(None, images)
    exponent = lite.model.postprocessing.size_exponent
    dense_scores = scores_by_size(*map(torch.from_numpy, (dense_boxes, dense_scores)), exponent)
    dense_scores = dense_scores.numpy()
    assert (scores > 0.05).all()
    assert scores.max() == pytest.approx(dense_scores.max(), abs=1e-6)
    best = dense_boxes[dense_scores > dense_scores.max() - 1e-6]  # one, or several nearly equal
    # Others have voted for the box.
    assert box_iou(torch.from_numpy(best), torch.from_numpy(boxes[:1])).max() > 0.8


@pytest.mark.parametrize("shape", SHAPES)
def test_torchscript_is_the_same_for_all_sizes(torchscript, lite, photograph, shape):
    parity = torchscript_parity(lite, torchscript, cut(photograph, shape))
    assert parity.is_close, parity


@pytest.fixture(scope="module")
def torchscript(lite, tmp_path_factory):
    path = tmp_path_factory.mktemp("torchscript") / "lite.ts"
    export_torchscript(lite, path)
    return path


def test_torchscript_says_what_it_is(torchscript, lite):
    files = {METADATA_FILE: ""}
    torch.jit.load(torchscript, _extra_files=files)
    metadata = ExportMetadata.from_properties(json.loads(files[METADATA_FILE]))
    assert metadata == lite.metadata(nms=False, score_threshold=0.0)


def test_other_architectures_are_refused(tmp_path):
    cfg = build_cfg("", ["MODEL.META_ARCHITECTURE", "RetinaNet"])
    with pytest.raises(NotExportableError, match="RetinaNet"):
        ExportableModel.load(config_file=cfg)


def test_what_onnx_cannot_hold_is_refused_and_leaves_no_file(small_cfg, make_exportable, tmp_path):
    model = make_exportable(small_cfg("MODEL.SRN.SECOND_STEP", "dense", "MODEL.SRN.RFE", False))
    model.model.backbone.register_forward_pre_hook(
        lambda _, inputs: (torch.special.bessel_j0(inputs[0]),)
    )
    with pytest.raises(NotExportableError, match="bessel"):
        export_onnx(model, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []
