"""Fixtures that several test modules share."""

import os
from pathlib import Path

import pytest

REPO_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The repository's root folder."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with WIDER FACE and the reference results, beside the repository."""
    path = Path(os.environ.get("SRN_SHARED", REPO_ROOT.parent / "shared"))
    if not path.is_dir():
        pytest.skip(f"{path} is not there (set SRN_SHARED)")
    return path


@pytest.fixture
def small_cfg(repo_root):
    """Make the config of a tiny SRN on the CPU, float32: ``small_cfg("MODEL.SRN.RFE", False)``."""

    def make(*opts):
        from srn_d2.engine.setup import build_cfg

        small = [
            *("MODEL.DEVICE", "cpu", "MODEL.FPN.OUT_CHANNELS", 16),
            *("MODEL.SRN.C6_CHANNELS", 16, "MODEL.SRN.C7_CHANNELS", 16),
            *("SOLVER.CPU_BFLOAT16", False),
        ]
        return build_cfg(str(repo_root / "configs" / "srn_R18_lite.yaml"), [*small, *opts])

    return make
