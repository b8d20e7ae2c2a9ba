"""Resumed runs take the settings that are asked for, and say what has changed."""

import math

import pytest
import torch
from detectron2.utils.events import EventStorage

from helpers.small_network import thin_options
from srn_d2.data.datasets.builtin import register_builtin_datasets
from srn_d2.engine import SRNTrainer
from srn_d2.engine.hooks import KeepBestCheckpoint

SMALL = [
    *thin_options(8),
    *("INPUT.FACE_CROP_SIZE", 64, "SOLVER.IMS_PER_BATCH", 2, "DATALOADER.NUM_WORKERS", 0),
    *("TEST.BEST_METRIC", "", "DATASETS.TEST", "()", "SOLVER.WARMUP_ITERS", 0),
    *("SOLVER.LR_SCHEDULER_NAME", "WarmupMultiStepLR", "SOLVER.STEPS", "()"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, repo_root, tiny_datasets):
    """The folder of a run of two iterations."""
    from srn_d2.config import build_cfg

    register_builtin_datasets(tiny_datasets)
    folder = tmp_path_factory.mktemp("run")
    opts = [*SMALL, "MODEL.DEVICE", "cpu", "SOLVER.CPU_BFLOAT16", False]
    opts += ["SOLVER.MAX_ITER", 2, "OUTPUT_DIR", str(folder)]
    cfg = build_cfg(str(repo_root / "configs/srn_R18.yaml"), opts)
    SRNTrainer(cfg).train()
    yield folder
    register_builtin_datasets()


@pytest.fixture
def resume(finished, small_cfg):
    """A trainer that has resumed the run with other options."""

    def make(*opts):
        trainer = SRNTrainer(small_cfg(*SMALL, "OUTPUT_DIR", str(finished), *opts))
        trainer.resume_or_load(resume=True)
        return trainer

    return make


def test_unchanged_settings_are_not_mentioned(resume, caplog):
    trainer = resume("SOLVER.MAX_ITER", 2)
    assert trainer.start_iter == 2
    assert "in the run that is resumed" not in caplog.text
    assert len(trainer.optimizer.state) > 0


@pytest.mark.parametrize(
    ("key", "value", "before"),
    [
        ("SOLVER.BASE_LR", 0.25, 0.001),
        ("SOLVER.IMS_PER_BATCH", 4, 2),
        ("SOLVER.MAX_ITER", 9, 2),
        ("SOLVER.WEIGHT_DECAY", 0.5, 0.05),
        ("SOLVER.EMA_DECAY", 0.5, 0.0),
        ("DATASETS.TRAIN", ("widerface_val",), ("widerface_train",)),
    ],
)
def test_a_changed_setting_is_taken_and_said(resume, caplog, key, value, before):
    trainer = resume("SOLVER.MAX_ITER", 2, key, value)
    assert f"{key} is {value!r}, and was {before!r} in the run that is resumed" in caplog.text
    groups = trainer.optimizer.param_groups
    assert max(group["lr"] for group in groups) == trainer.cfg.SOLVER.BASE_LR
    assert trainer.scheduler.base_lrs == [group["initial_lr"] for group in groups]
    assert max(group["weight_decay"] for group in groups) == trainer.cfg.SOLVER.WEIGHT_DECAY


def test_the_new_rate_is_the_one_of_the_next_steps(resume):
    trainer = resume("SOLVER.MAX_ITER", 3, "SOLVER.BASE_LR", 0.25)
    used = []
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda: (used.append(trainer.optimizer.param_groups[0]["lr"]), step())
    trainer.checkpointer.save_to_disk = False
    trainer.train()
    assert used == [0.25]


@pytest.mark.parametrize("opts", [("SOLVER.OPTIMIZER", "SGD"), ("SOLVER.BACKBONE_MULTIPLIER", 0.5)])
def test_a_state_of_other_parameters_starts_anew_with_a_warning(resume, caplog, opts):
    trainer = resume("SOLVER.MAX_ITER", 3, *opts)
    assert "its moments start anew" in caplog.text
    assert len(trainer.optimizer.state) == 0
    trainer.checkpointer.save_to_disk = False
    trainer.train()


def test_a_finished_run_says_so(resume, caplog):
    trainer = resume("SOLVER.MAX_ITER", 2)
    trainer.checkpointer.save_to_disk = False
    trainer.train()
    assert "this run has finished: 2 iterations are done, and SOLVER.MAX_ITER is 2" in caplog.text


def test_checkpoints_of_before_tell_the_rate(finished, resume, caplog):
    path = finished / "model_final.pth"
    state = torch.load(path, weights_only=True)
    content = path.read_bytes()
    del state["trainer"]["settings"]
    torch.save(state, path)
    try:
        trainer = resume("SOLVER.BASE_LR", 0.25)
    finally:
        path.write_bytes(content)
    assert "SOLVER.BASE_LR is 0.25, and was 0.001" in caplog.text
    assert trainer.optimizer.param_groups[0]["lr"] == 0.25


def test_another_network_is_an_error(resume):
    with pytest.raises(ValueError, match=r"model_final\.pth do not fit .*config"):
        resume("MODEL.SRN.C7_CHANNELS", 12)


def test_weights_alone_cannot_be_resumed(finished, resume):
    torch.save({"model": weights_of(finished)}, finished / "alone.pth")
    (finished / "last_checkpoint").write_text("alone.pth")
    try:
        with pytest.raises(ValueError, match=r"no state of a training.*MODEL\.WEIGHTS"):
            resume()
    finally:
        (finished / "last_checkpoint").write_text("model_final.pth")


def weights_of(folder):
    return torch.load(folder / "model_final.pth", weights_only=True)["model"]


def test_a_new_run_in_the_folder_of_another_is_a_warning(finished, small_cfg, caplog):
    trainer = SRNTrainer(small_cfg(*SMALL, "OUTPUT_DIR", str(finished), "SOLVER.MAX_ITER", 2))
    trainer.resume_or_load(resume=False)
    assert "has the checkpoints of an earlier run" in caplog.text
    assert trainer.start_iter == 0


class Saver:
    save_dir = ""
    saved = 0

    def save(self, *args, **kwargs):
        self.saved += 1


@pytest.mark.parametrize(
    ("metrics", "saved", "message"),
    [
        ({"bbox/AP50": 3.0}, 1, ""),
        ({"bbox/AP50": math.nan}, 0, "is NaN: DATASETS.TEST has no face"),
        ({"bbox/AP": 1.0, "srn/x": 1.0}, 0, "is no metric of the evaluation; there are: bbox/AP."),
        ({}, 0, "there are: none"),
    ],
)
def test_a_metric_without_value_is_one_warning_and_no_file(caplog, metrics, saved, message):
    saver = Saver()
    hook = KeepBestCheckpoint(1, saver, "bbox/AP50")
    with EventStorage() as storage:
        storage.put_scalars(**metrics)

        class Trainer:
            iter, max_iter = 0, 9

        Trainer.storage = storage
        hook.trainer = Trainer
        hook.after_step()
        hook.after_step()
    assert saver.saved == saved
    assert len(caplog.records) == (1 if message else 0)
    assert message in caplog.text
