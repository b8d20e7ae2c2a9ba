from itertools import pairwise

import pytest
import torch
from detectron2.engine import HookBase
from detectron2.utils.events import EventStorage

from helpers.small_network import thin_options
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.data.datasets.builtin import register_builtin_datasets
from srn_d2.engine import SRNTrainer
from srn_d2.engine.trainer import NonFiniteLossError

TINY_RUN = [
    *thin_options(8),
    *("INPUT.FACE_CROP_SIZE", 64, "SOLVER.IMS_PER_BATCH", 2, "DATALOADER.NUM_WORKERS", 0),
    *("TEST.EVAL_PERIOD", 0, "TEST.BEST_METRIC", "", "SOLVER.MAX_ITER", 3),
]


@pytest.mark.parametrize(("name", "kind"), [("SGD", torch.optim.SGD), ("AdamW", torch.optim.AdamW)])
def test_optimizer_is_the_one_named_and_clips(small_cfg, name, kind):
    cfg = small_cfg("SOLVER.OPTIMIZER", name, "SOLVER.CLIP_GRADIENTS.CLIP_VALUE", 0.5)
    model = torch.nn.Linear(4, 4)
    optimizer = SRNTrainer.build_optimizer(cfg, model)
    assert isinstance(optimizer, kind)
    model.weight.grad = torch.full_like(model.weight, 100.0)
    optimizer.step()
    assert model.weight.grad.norm().item() == pytest.approx(0.5)


def test_unknown_optimizer_lists_the_valid_ones(small_cfg):
    with pytest.raises(ValueError, match=r"SOLVER\.OPTIMIZER is 'Adam'; valid are .*AdamW"):
        SRNTrainer.build_optimizer(small_cfg("SOLVER.OPTIMIZER", "Adam"), torch.nn.Linear(1, 1))


def test_backbone_multiplier_is_of_the_bottom_up_network_alone(small_cfg):
    cfg = small_cfg("SOLVER.BACKBONE_MULTIPLIER", 0.1, "SOLVER.BASE_LR", 0.5)
    model = SRNTrainer.build_model(cfg)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rates = {
        names[id(parameter)]: group["lr"]
        for group in SRNTrainer.build_optimizer(cfg, model).param_groups
        for parameter in group["params"]
    }
    for name, rate in rates.items():
        expected = 0.05 if name.startswith("backbone.bottom_up.") else 0.5
        assert rate == pytest.approx(expected), name
    assert {round(rate, 3) for rate in rates.values()} == {0.05, 0.5}


class RecordWeights(HookBase):
    """Keep one weight of the network after each step."""

    def __init__(self):
        self.weights = []

    def after_step(self) -> None:
        self.weights.append(first_weight(self.trainer.model).clone())


def first_weight(model: torch.nn.Module) -> torch.Tensor:
    return model.backbone.p6.weight.detach()


@pytest.fixture
def registered(tiny_datasets):
    """The data sets' names stand for ``tiny_datasets``."""
    register_builtin_datasets(tiny_datasets)
    yield
    register_builtin_datasets()


def test_the_moving_average_is_what_is_tested_and_loaded(
    small_cfg, registered, monkeypatch, tmp_path
):
    cfg = small_cfg(*TINY_RUN, "SOLVER.EMA_DECAY", 0.75, "OUTPUT_DIR", str(tmp_path))
    trainer = SRNTrainer(cfg)
    record = RecordWeights()
    trainer.register_hooks([record])
    trainer.train()

    average = record.weights[0]
    for weight in record.weights[1:]:
        average = 0.75 * average + 0.25 * weight
    assert any(not torch.equal(one, other) for one, other in pairwise(record.weights))
    torch.testing.assert_close(first_weight(trainer.average.module), average)

    tested = []
    monkeypatch.setattr(trainer, "test", lambda cfg, model: tested.append(model) or {})
    trainer._evaluate()
    assert tested == [trainer.average.module]

    loaded = SRNTrainer.build_model(cfg)
    SRNCheckpointer(loaded, strict=True).load(str(tmp_path / "model_final.pth"))
    torch.testing.assert_close(first_weight(loaded), average)

    resumed = SRNTrainer(cfg)
    resumed.resume_or_load(resume=True)
    torch.testing.assert_close(first_weight(resumed.model), record.weights[-1])
    torch.testing.assert_close(first_weight(resumed.average.module), average)
    assert resumed.average.n_averaged == 3


@pytest.mark.filterwarnings("ignore:.*GradScaler")
def test_mixed_precision_goes_on_from_a_checkpoint_without_it(small_cfg, registered, tmp_path):
    opts = (*TINY_RUN, "SOLVER.MAX_ITER", 1, "OUTPUT_DIR", str(tmp_path))
    trainer = SRNTrainer(small_cfg(*opts))
    trainer.train()
    resumed = SRNTrainer(small_cfg(*opts, "SOLVER.AMP.ENABLED", True))
    resumed.resume_or_load(resume=True)
    assert resumed.start_iter == 1
    torch.testing.assert_close(first_weight(resumed.model), first_weight(trainer.model))


@pytest.mark.parametrize("in_bfloat16_first", [True, False])
def test_a_training_goes_on_in_the_other_precision(
    small_cfg, registered, tmp_path, in_bfloat16_first
):
    def build(in_bfloat16):
        opts = ("SOLVER.CPU_BFLOAT16", in_bfloat16, "SOLVER.CHECKPOINT_PERIOD", 1)
        opts += ("INPUT.FACE_CROP_SIZE", 128)
        return SRNTrainer(small_cfg(*TINY_RUN, *opts, "OUTPUT_DIR", str(tmp_path)))

    trainer = build(in_bfloat16_first)
    trainer.max_iter = 1  # stopped after it
    trainer.train()
    resumed = build(not in_bfloat16_first)
    resumed.resume_or_load(resume=True)
    assert resumed.start_iter == 1
    before = first_weight(resumed.model).clone()
    torch.testing.assert_close(before, first_weight(trainer.model))
    in_bfloat16 = []
    resumed.model.head.register_forward_hook(
        lambda *_: in_bfloat16.append(torch.is_autocast_enabled("cpu"))
    )
    resumed.train()
    assert in_bfloat16 == [not in_bfloat16_first] * 2
    assert first_weight(resumed.model).dtype == torch.float32
    assert not torch.equal(first_weight(resumed.model), before)


def test_crops_whose_gradients_would_be_wrong_in_bfloat16_are_refused(small_cfg, registered):
    with pytest.raises(ValueError, match=r"FACE_CROP_SIZE is 64.*set SOLVER\.CPU_BFLOAT16 False"):
        SRNTrainer(small_cfg(*TINY_RUN, "SOLVER.CPU_BFLOAT16", True))
    SRNTrainer(small_cfg(*TINY_RUN, "SOLVER.CPU_BFLOAT16", True, "INPUT.FACE_CROP_SIZE", 96))
    SRNTrainer(small_cfg(*TINY_RUN))


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_out_of_range_is_refused(small_cfg, registered, decay):
    with pytest.raises(ValueError, match="EMA_DECAY"):
        SRNTrainer(small_cfg(*TINY_RUN, "SOLVER.EMA_DECAY", decay))


class LossOnDevice(torch.Tensor):
    """A loss that stands for one on a GPU: each copy of it to the CPU is counted."""

    num_copies = 0

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        result = super().__torch_function__(func, types, args, kwargs or {})
        if func not in (torch.Tensor.cpu, torch.Tensor.item, torch.Tensor.tolist):
            return result
        LossOnDevice.num_copies += 1
        return result.as_subclass(torch.Tensor) if isinstance(result, torch.Tensor) else result


@pytest.fixture
def write_losses(small_cfg, registered, monkeypatch):
    """Write the metrics of one training step with the losses given; returns the event storage."""
    step = SRNTrainer(small_cfg(*TINY_RUN))._trainer
    step.iter = 0
    monkeypatch.setattr(LossOnDevice, "num_copies", 0)

    def write(**losses):
        losses = {
            name: torch.tensor(value).as_subclass(LossOnDevice).requires_grad_()
            for name, value in losses.items()
        }
        with EventStorage() as storage:
            step._write_metrics(losses, data_time=0.5)
        return storage

    return write


def test_the_losses_of_a_step_are_copied_from_the_device_once(write_losses):
    storage = write_losses(loss_cls=0.1, loss_box=0.7, loss_third=1e-9)
    assert LossOnDevice.num_copies == 1
    written = {name: value for name, (value, _) in storage.latest().items()}
    expected = {
        name: torch.tensor(value).item()
        for name, value in (("loss_cls", 0.1), ("loss_box", 0.7), ("loss_third", 1e-9))
    }
    assert written.pop("total_loss") == sum(expected.values())
    assert written == {**expected, "data_time": 0.5, "rank_data_time": 0.5}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_error_names_all_losses(write_losses, bad):
    with pytest.raises(NonFiniteLossError, match=rf"\{{'loss_cls': 0.5, 'loss_box': {bad}\}}"):
        write_losses(loss_cls=0.5, loss_box=bad)
    assert LossOnDevice.num_copies == 1
