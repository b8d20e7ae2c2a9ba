"""Exported graphs in other runtimes: the results of ONNX Runtime, for any size and batch."""

import cv2
import numpy as np
import pytest

from runtimes.measure import compare
from runtimes.process import REFERENCE, RuntimeProcess, known_runtimes
from srn_d2.export.onnx_export import export_onnx
from srn_d2.export.parity import check_picture


@pytest.fixture(scope="module")
def runtimes(repo_root):
    return known_runtimes(repo_root / "output" / "runtimes" / "node_modules")


@pytest.mark.numerics
@pytest.mark.parametrize("nms", [True, False], ids=["nms", "dense"])
@pytest.mark.parametrize("name", ["opencv", "openvino", "web"])
def test_results_are_onnx_runtimes(runtimes, lite, lite_files, tmp_path, name, nms):
    if not runtimes[name].is_installed:
        pytest.skip(f"{runtimes[name].title} is not installed: {runtimes[name].install}")
    if name == "opencv" and int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("OpenCV 4 lacks some operators")
    path = lite_files[nms]
    if nms:
        # In any picture the coarsest anchors have scores of some 0.07: with the default threshold
        # there would be no picture without detections.
        path = tmp_path / "lite.onnx"
        export_onnx(lite, path, score_threshold=0.1)
    picture = check_picture()[0].transpose(2, 0, 1)
    batches = {
        "faces": np.tile(picture[None, :, 140:280, 150:321], 2),
        "nothing": np.zeros((1, 3, 64, 96), dtype=np.uint8),
        "two pictures": np.stack([picture[:, 10:107, 20:151], picture[:, 150:247, 160:291]]),
        "one pixel": picture[None, :, :1, :1],
    }
    num_found = {}
    with (
        RuntimeProcess(runtimes[REFERENCE], path) as reference,
        RuntimeProcess(runtimes[name], path) as other,
    ):
        for batch, images in batches.items():
            expected, _ = reference.run(images)
            found, _ = other.run(images)
            difference = compare(expected, found, len(images))
            assert difference.num_alone == 0, batch
            assert difference.score < 1e-4, batch
            assert difference.box < 0.01, batch
            num_found[batch] = int((expected["scores"] > 0.02).sum())
    assert num_found["faces"] > 1
    assert not nms or num_found["nothing"] == 0
