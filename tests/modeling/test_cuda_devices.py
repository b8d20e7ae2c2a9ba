"""No tensor is made on the CPU where the model is on CUDA; without a GPU, see pretended_cuda.py."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from helpers.pretended_cuda import MixedDevicesError, OnCuda, pretended_cuda
from srn_d2.engine import SRNTrainer
from srn_d2.inference.predictor import FacePredictor
from srn_d2.inference.test_time_augmentation import SRNWithTTA

FACES = [[20.0, 20.0, 60.0, 70.0], [80.0, 30.0, 92.0, 46.0], [0.0, 0.0, 128.0, 128.0]]
RELEASED = (
    *("MODEL.ANCHOR_GENERATOR.NAME", "ReleasedAnchorGenerator"),
    *("MODEL.SRN.POSTPROCESSING", "released", "MODEL.SRN.UPSAMPLE", "bilinear"),
)


@pytest.fixture(autouse=True)
def _on_cuda():
    torch.manual_seed(0)
    with pretended_cuda():
        yield


def sample(ignore=None) -> dict:
    """A training sample on the CPU, as the loader gives it."""
    instances = Instances((128, 128), gt_boxes=Boxes(torch.tensor(FACES)))
    instances.gt_classes = torch.zeros(len(FACES), dtype=torch.int64)
    if ignore is not None:
        instances.gt_ignore = torch.tensor(ignore)
    image = torch.randint(0, 256, (3, 128, 128), dtype=torch.uint8)
    return {"image": image, "instances": instances}


def all_on_cuda(tensors) -> bool:
    return all(isinstance(x, OnCuda) for x in tensors)


@pytest.mark.parametrize(
    "opts",
    [
        (),
        (*RELEASED, "MODEL.SRN.BBOX_REG_LOSS_TYPE", "giou", "MODEL.SRN.RFE", False),
        ("MODEL.SRN.STC_LEVELS", [], "MODEL.SRN.STR_LEVELS", [], "MODEL.SRN.RFE", False),
    ],
    ids=["paper", "released", "one step"],
)
def test_training_step(small_cfg, opts):
    cfg = small_cfg("MODEL.DEVICE", "cuda", *opts)
    model = build_model(cfg).train()
    assert all_on_cuda([*model.parameters(), *model.buffers()])
    optimizer = SRNTrainer.build_optimizer(cfg, model)
    with EventStorage() as storage:
        losses = model([sample(), sample([False, True, False])])
    assert all_on_cuda(losses.values())
    assert storage.latest()["srn/positives_s2"][0] > 0
    sum(losses.values()).backward()
    optimizer.step()


@pytest.mark.parametrize(
    "opts", [("MODEL.SRN.SECOND_STEP", "sparse"), RELEASED], ids=["sparse", "released"]
)
def test_detection(small_cfg, opts):
    model = build_model(small_cfg("MODEL.DEVICE", "cuda", *opts)).eval()
    for output in model([sample(), sample()]):
        found = output["instances"]
        assert len(found) > 0
        assert all_on_cuda([found.pred_boxes.tensor, found.scores, found.pred_classes])


@pytest.mark.parametrize("voting", [True, False])
def test_multi_scale_testing(small_cfg, voting, monkeypatch):
    opts = ("TEST.SRN_TTA.VOTING", voting, "TEST.SRN_TTA.FLIP", voting)
    cfg = small_cfg("MODEL.DEVICE", "cuda", "MODEL.SRN.RFE", False, *opts)
    cfg.TEST.SRN_TTA.SCALES = (0.5, 4.0)
    model = build_model(cfg)
    detect = model.detect

    def detect_small(images):
        if images.tensor.shape[-1] > 384:  # so that views are cut into tiles
            raise torch.OutOfMemoryError("CUDA out of memory")
        return detect(images)

    monkeypatch.setattr(model, "detect", detect_small)
    [output] = SRNWithTTA(cfg, model).eval()([sample()])
    assert all_on_cuda([output["instances"].pred_boxes.tensor, output["instances"].scores])


def test_predictor_loads_weights_and_gives_faces_on_the_cpu(small_cfg, tmp_path):
    weights = tmp_path / "model.pth"
    torch.save({"model": build_model(small_cfg()).state_dict()}, weights)
    predictor = FacePredictor(small_cfg("MODEL.DEVICE", "cuda", "MODEL.WEIGHTS", str(weights)))
    assert all_on_cuda(predictor.single_scale_model.state_dict().values())
    found = predictor(np.zeros((96, 128, 3), dtype=np.uint8))
    assert len(found) > 0
    assert found.pred_boxes.tensor.numpy().shape == (len(found), 4)


def test_folded_normalisation(repo_root, small_cfg):
    pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    opts = ("MODEL.BACKBONE.NAME", "build_srn_timm_fpn_backbone", "MODEL.TIMM.NORM", "FrozenBN")
    features = ("MODEL.FPN.IN_FEATURES", ["c2", "c3", "c4", "c5"])
    model = build_model(small_cfg("MODEL.DEVICE", "cuda", *opts, *features)).train()
    assert all_on_cuda(model([sample(), sample()]).values())


def test_the_pretended_device_tells_where_tensors_are():
    x = torch.zeros(2, 3, device="cuda")
    assert (x * 2.0).device == x.new_tensor([1.0]).device == torch.zeros(4).to(x.device).device
    assert x.device.type == "cuda"
    assert x.cpu().device.type == x.to("cpu").device.type == "cpu"
    for mix in (
        lambda: x + torch.zeros(3),
        lambda: torch.cat([torch.zeros(2, 3), x]),
        lambda: x[torch.tensor([True, False])],
        lambda: torch.arange(4)[x[0].long()],
        lambda: x.numpy(),
        lambda: np.asarray(x),
    ):
        with pytest.raises(MixedDevicesError):
            mix()
