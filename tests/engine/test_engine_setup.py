import argparse
import logging

import pytest
import torch
from detectron2.utils import comm

from srn_d2.config import build_cfg, check_device
from srn_d2.engine import setup
from srn_d2.engine.setup import check_backend, setup_cfg


def test_unknown_key_on_the_command_line_names_the_closest_and_its_siblings():
    with pytest.raises(KeyError) as error:
        build_cfg(opts=["MODEL.SRN.STC_LEVEL", "[]"])
    message = str(error.value)
    assert "did you mean MODEL.SRN.STC_LEVELS" in message
    assert "MODEL.SRN.RFE" in message
    assert "command line" in message


def test_unknown_key_in_a_file_names_the_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("MODEL:\n  SRN:\n    THETA: 0.9\n")
    with pytest.raises(KeyError) as error:
        build_cfg(str(path))
    assert str(path) in str(error.value)
    assert "MODEL.SRN.THETA" in str(error.value)
    assert "MODEL.SRN.STC_THRESHOLD" in str(error.value)


def test_broken_yaml_and_missing_file_are_named(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("MODEL: [\n")
    with pytest.raises(ValueError, match=r"broken\.yaml"):
        build_cfg(str(path))
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        build_cfg(str(tmp_path / "none.yaml"))


def test_a_key_without_value_is_refused():
    with pytest.raises(ValueError, match="pairs"):
        build_cfg(opts=["SEED"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there: set CUDA_VISIBLE_DEVICES=-1")
def test_cuda_without_a_device_says_what_to_append(repo_root):
    cfg = build_cfg(str(repo_root / "configs/srn_R50.yaml"))
    with pytest.raises(RuntimeError, match=r"MODEL\.DEVICE cpu"):
        check_device(cfg)


def test_a_cuda_device_beyond_the_last_one_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_device(build_cfg(opts=["MODEL.DEVICE", "cuda:1"]))
    with pytest.raises(RuntimeError, match=r"is 'cuda:2' but the last of torch's 2 .* 'cuda:1'"):
        check_device(build_cfg(opts=["MODEL.DEVICE", "cuda:2"]))


@pytest.fixture
def srn_logger():
    """The project's logger, put back as it was: the set-up takes it away from pytest's caplog."""
    logger = logging.getLogger("srn_d2")
    state = logger.handlers[:], logger.propagate, logger.level
    yield logger
    logger.handlers[:], logger.propagate, logger.level = state


def test_setup_freezes_and_writes_the_config(tmp_path, repo_root, srn_logger):
    args = argparse.Namespace(
        config_file=str(repo_root / "configs/srn_toy.yaml"),
        opts=["OUTPUT_DIR", str(tmp_path)],
        eval_only=False,
    )
    cfg = setup_cfg(args)
    assert cfg.is_frozen()
    assert build_cfg(str(tmp_path / "config.yaml")).MODEL.SRN == cfg.MODEL.SRN
    logging.getLogger("srn_d2.evaluation").info("a table")
    for handler in srn_logger.handlers:
        handler.flush()
    assert "a table" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(
    ("backend", "device"), [("nccl", "cpu"), ("gloo", "cpu"), ("nccl", "cuda")]
)
def test_workers_with_gpus_need_a_model_on_them(monkeypatch, small_cfg, backend, device):
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "get_backend", lambda: backend)
    cfg = small_cfg("MODEL.DEVICE", device)
    if (backend, device) == ("nccl", "cpu"):
        with pytest.raises(RuntimeError, match="'cpu', but the workers have GPUs"):
            check_backend(cfg)
    else:
        check_backend(cfg)


def test_a_key_that_is_gone_is_ignored_in_old_configs(tmp_path, caplog):
    path = tmp_path / "old.yaml"
    path.write_text("VERSION: 2\nTEST:\n  COMPILE: false\n  BFLOAT16: true\n")
    assert build_cfg(str(path)).TEST.BFLOAT16 is True
    assert "TEST.COMPILE" in caplog.text
    assert "COMPILE" not in build_cfg(opts=["TEST.COMPILE", "True"]).TEST


@pytest.mark.parametrize(
    ("workers", "device", "variable", "threads"),
    [
        (2, "cpu", None, 2),
        (8, "cpu", None, 1),
        (1, "cpu", None, 3),
        (2, "cuda", None, 3),
        (2, "cpu", "3", 3),
    ],
)
def test_workers_on_cpus_share_the_cores(
    monkeypatch, small_cfg, workers, device, variable, threads
):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    monkeypatch.setattr(comm, "get_local_size", lambda: workers)
    monkeypatch.setattr(setup, "usable_cores", lambda: 5)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        setup.share_cores(small_cfg("MODEL.DEVICE", device))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
