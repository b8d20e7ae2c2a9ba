"""Every shipped config builds, and the recipe is the paper's."""

import re
from pathlib import Path

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from fvcore.nn import FlopCountAnalysis

from srn_d2 import add_srn_config
from srn_d2.config import build_cfg
from srn_d2.modeling import LEVELS
from srn_d2.renamed_configs import RENAMED_CONFIGS

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
ABLATION = sorted((CONFIGS / "ablation").glob("*.yaml"))
FINE, COARSE = list(LEVELS[:3]), list(LEVELS[3:])
TABLE_1 = {
    "retinanet": ([], [], False),
    "stc": (FINE, [], False),
    "str": ([], COARSE, False),
    "stc_str": (FINE, COARSE, False),
    "srn": (FINE, COARSE, True),
}
ROW_KEYS = ("STC_LEVELS", "STR_LEVELS", "RFE")
TABLES = {
    **TABLE_1,
    **{f"stc_{level}": ([level], [], False) for level in LEVELS},
    **{f"str_{level}": ([], [level], False) for level in LEVELS},
}


def test_add_srn_config_changes_no_default_of_detectron2():
    def leave_out_ours(theirs, ours):
        return {
            key: leave_out_ours(value, ours[key]) if isinstance(value, dict) else ours[key]
            for key, value in theirs.items()
        }

    plain, extended = get_cfg(), get_cfg()
    add_srn_config(extended)
    assert leave_out_ours(plain, extended) == plain
    assert extended != plain


def test_recipe_is_the_papers():
    cfg = build_cfg(str(CONFIGS / "srn_R50.yaml"))
    solver = cfg.SOLVER
    assert (solver.IMS_PER_BATCH, solver.REFERENCE_WORLD_SIZE) == (32, 8)
    assert (solver.BASE_LR, solver.MOMENTUM, solver.WEIGHT_DECAY) == (0.01, 0.9, 1e-4)
    iterations_per_epoch = 12_880 / 32
    epochs = [steps / iterations_per_epoch for steps in (*solver.STEPS, solver.MAX_ITER)]
    assert epochs == [100, 120, 130]
    assert solver.CLIP_GRADIENTS.ENABLED
    assert solver.WARMUP_ITERS > 0
    assert cfg.INPUT.FACE_CROP_SIZE == 1024
    assert cfg.MODEL.SRN.STC_LEVELS == FINE
    assert cfg.MODEL.SRN.STR_LEVELS == COARSE
    assert cfg.MODEL.SRN.STC_THRESHOLD == 0.99
    assert cfg.MODEL.SRN.FIRST_STEP_IOU_THRESHOLDS == [0.3, 0.7]
    assert cfg.MODEL.SRN.SECOND_STEP_IOU_THRESHOLDS == [0.4, 0.5]
    assert (cfg.MODEL.SRN.TOPK_CANDIDATES_TEST, cfg.MODEL.SRN.NMS_THRESH_TEST) == (2000, 0.5)
    assert cfg.TEST.DETECTIONS_PER_IMAGE == 750


def test_there_is_one_config_for_every_row_of_the_ablation_tables():
    assert {path.stem for path in ABLATION} == set(TABLES)


@pytest.mark.parametrize("path", ABLATION, ids=lambda path: path.stem)
def test_ablation_differs_from_the_recipe_in_its_row_only(path):
    stc, str_, rfe = TABLES[path.stem]
    cfg, recipe = build_cfg(str(path)), build_cfg(str(CONFIGS / "srn_R50.yaml"))
    assert (stc, str_) == (cfg.MODEL.SRN.STC_LEVELS, cfg.MODEL.SRN.STR_LEVELS)
    assert rfe == cfg.MODEL.SRN.RFE
    for key in ROW_KEYS:
        cfg.MODEL.SRN[key] = recipe.MODEL.SRN[key]
    cfg.OUTPUT_DIR = recipe.OUTPUT_DIR
    assert cfg == recipe


def count(cfg, size: int) -> tuple[float, float]:
    """GMAC of the dense network at size x size, and parameters in millions.

    The size is a multiple of 128, the coarsest stride: the work grows as the number of pixels.
    """
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg).eval()

    class Network(torch.nn.Module):
        def forward(self, image):
            maps = model.backbone(image)
            predictions = model.head([maps[name] for name in model.head_in_features])
            return [x for level in predictions for x in level if x is not None]

    network = Network()
    network.model = model
    analysis = FlopCountAnalysis(network, torch.zeros(1, 3, 128, 128))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    gmac = analysis.total() / 1e9 * (size / 128) ** 2
    return gmac, sum(p.numel() for p in model.parameters()) / 1e6


@pytest.mark.parametrize(
    ("row", "name", "further_keys"),
    [
        ("retinanet", "retinanet_efflite0", ()),
        ("srn", "srn_efflite0_full", ("FIRST_STEP_LOSS_WEIGHT", "C6_CHANNELS", "C7_CHANNELS")),
    ],
)
def test_the_light_models_variants_differ_in_their_parts_only(row, name, further_keys):
    cfg, recipe = (build_cfg(str(CONFIGS / f"{x}.yaml")) for x in (name, "srn_efflite0"))
    assert TABLE_1[row] == tuple(cfg.MODEL.SRN[key] for key in ROW_KEYS)
    for key in (*ROW_KEYS, *further_keys):
        cfg.MODEL.SRN[key] = recipe.MODEL.SRN[key]
    cfg.OUTPUT_DIR = recipe.OUTPUT_DIR
    assert cfg == recipe


@pytest.mark.parametrize(
    "name", ["srn_efflite0", "srn_R18_timm", "srn_efflite0_full", "retinanet_efflite0", "srn_R18"]
)
def test_light_models_keep_their_budget(name):
    gmac, parameters = count(build_cfg(str(CONFIGS / f"{name}.yaml")), 640)
    assert gmac <= 26
    assert parameters <= 14


def test_srn_r50_computes_only_what_its_steps_need():
    # 161 GMAC when both subnets run at all levels in both steps; 30 of them are not needed.
    gmac, _ = count(build_cfg(str(CONFIGS / "srn_R50.yaml")), 512)
    assert gmac == pytest.approx(161 - 30, abs=1)


@pytest.mark.parametrize(("former", "present"), RENAMED_CONFIGS.items())
def test_a_former_name_of_a_config_leads_to_the_present_one(tmp_path, former, present):
    assert (CONFIGS / present).is_file()
    message = f"there is no config file {CONFIGS / former}: it is now {CONFIGS / present}"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        build_cfg(str(CONFIGS / former))
    own = tmp_path / "own.yaml"
    own.write_text(f"_BASE_: {CONFIGS / former}\n")
    message = f"{own}: there is no config file {CONFIGS / former} (_BASE_): it is now {CONFIGS}"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        build_cfg(str(own))


def test_a_missing_config_without_a_former_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no config file .*srn\.yaml; .*srn_R50"):
        build_cfg(str(tmp_path / "srn.yaml"))
