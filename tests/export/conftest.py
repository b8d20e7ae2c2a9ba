"""Models to export, and files that are exported once."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from PIL import Image

from benchmarks.variants import calibrate
from helpers.made_once import made_once
from srn_d2.export.exportable import ExportableModel
from srn_d2.export.onnx_export import export_onnx
from srn_d2.export.parity import check_picture


@pytest.fixture(scope="session")
def lite():
    """The model that comes with the package."""
    return ExportableModel.load("lite")


@pytest.fixture(scope="session")
def lite_files(lite, tmp_path_factory):
    """{whether with NMS: the ONNX file that srn-d2 export writes unless told otherwise}"""
    names = {True: "lite.onnx", False: "lite_dense.onnx"}

    def export(folder):
        for nms, name in names.items():
            export_onnx(lite, folder / name, nms=nms)

    folder = made_once(tmp_path_factory, "lite_files", export)
    return {nms: folder / name for nms, name in names.items()}


@pytest.fixture(scope="session")
def grace_hopper():
    """The path of a portrait that matplotlib brings, 512 x 600."""
    import matplotlib.cbook

    return str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


@pytest.fixture(scope="session")
def photograph(grace_hopper):
    """The portrait, (600, 512, 3)."""
    return np.asarray(Image.open(grace_hopper))


@pytest.fixture
def make_exportable():
    """A network of random weights whose scores and boxes are usual ones: of a config."""

    def make(cfg):
        torch.manual_seed(0)
        model = build_model(cfg).eval()
        picture = torch.from_numpy(check_picture()[0].transpose(2, 0, 1).copy())
        images = model.preprocess_image([{"image": picture}])
        calibrate(model.head.cls_score, model.head.bbox_pred, lambda: model.detect(images))
        return ExportableModel.of(model, cfg, "small")

    return make
