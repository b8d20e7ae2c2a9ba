"""The backbone and the first step in ONNX Runtime, within the torch detector."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from helpers.detections import assert_same_detections

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from srn_d2.export.onnx_first_step import use_onnx_runtime

pytestmark = pytest.mark.numerics


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    sizes = [(96, 128), (33, 190), (160, 64), (1, 1), (96, 128)]
    return [torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8)) for size in sizes]


def pair_of(cfg):
    """Two equal models, the second with ONNX Runtime."""
    torch.manual_seed(0)
    models = [build_model(cfg).eval() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    use_onnx_runtime(models[1], num_threads=1)
    return models


def detections_of(model, *images):
    with torch.no_grad():
        return [output["instances"] for output in model([{"image": image} for image in images])]


@pytest.mark.parametrize(
    "opts",
    [
        ["MODEL.SRN.SECOND_STEP", "auto"],
        ["MODEL.SRN.SECOND_STEP", "dense"],
        ["MODEL.SRN.STC_LEVELS", [], "MODEL.SRN.STR_LEVELS", ["p3", "p7"]],
        ["MODEL.SRN.STC_LEVELS", ["p2"], "MODEL.SRN.STR_LEVELS", []],
        ["MODEL.SRN.SIZE_DIVISIBILITY", 1],
    ],
)
def test_the_same_detections(small_cfg, images, opts):
    cfg = small_cfg(*opts)
    expected, found = pair_of(cfg)
    for image in images:
        [a], [b] = detections_of(expected, image), detections_of(found, image)
        assert_same_detections(b, a, at_least=0)
    batch = images[0], images[4]
    for a, b in zip(detections_of(expected, *batch), detections_of(found, *batch), strict=True):
        assert_same_detections(b, a)


def test_several_threads_may_use_it(small_cfg, images):
    expected, found = pair_of(small_cfg())
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda image: detections_of(found, image), images * 3))
    for image, [b] in zip(images * 3, results, strict=True):
        [a] = detections_of(expected, image)
        assert_same_detections(b, a, at_least=0)


def test_what_it_is_not_for(small_cfg):
    with pytest.raises(ValueError, match="float32"):
        use_onnx_runtime(build_model(small_cfg("TEST.BFLOAT16", True)))
    with pytest.raises(ValueError, match="SRN only, not Linear"):
        use_onnx_runtime(torch.nn.Linear(1, 1))
