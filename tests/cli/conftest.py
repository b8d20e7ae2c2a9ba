"""Fixtures of the commands: a model with random weights, and ``srn-d2 detect``."""

import pytest
import torch

from helpers.small_network import SMALL
from srn_d2 import cli
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.config import build_cfg
from srn_d2.engine import SRNTrainer

FLOAT32 = ["SOLVER.CPU_BFLOAT16", False]


@pytest.fixture(scope="module")
def detect_model(repo_root, tmp_path_factory):
    """Config and random weights, whose scores are low."""
    folder = tmp_path_factory.mktemp("run")
    config = str(repo_root / "configs" / "srn_R18.yaml")
    cfg = build_cfg(
        config,
        [
            *(*SMALL, *FLOAT32, "MODEL.SRN.RFE", False),
            *("MODEL.DEVICE", "cpu", "TEST.DETECTIONS_PER_IMAGE", 5),
        ],
    )
    torch.manual_seed(0)
    SRNCheckpointer(SRNTrainer.build_model(cfg), str(folder)).save("model_final")
    (folder / "config.yaml").write_text(cfg.dump())
    return {"config_file": folder / "config.yaml", "weights": folder / "model_final.pth"}


@pytest.fixture
def detect(detect_model, tmp_path, caplog):
    """Run the command: ``detect("a.jpg", "--blur")`` gives its status and its messages."""

    def run(*arguments):
        options = ["--config-file", detect_model["config_file"]]
        options += ["--weights", detect_model["weights"]]
        options += ["--device", "cpu", "--threshold", 0, "--output", tmp_path / "out"]
        caplog.clear()
        with caplog.at_level("INFO", logger="srn_d2.cli"):
            status = cli.main(["detect", *map(str, [*options, *arguments])])
        return status, caplog.text

    return run
