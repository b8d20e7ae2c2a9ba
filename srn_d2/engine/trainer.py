"""SRN's trainer."""

import inspect
import logging
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, TrainerBase, hooks
from detectron2.evaluation import DatasetEvaluator
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from srn_d2.bfloat16 import resolve_cpu_bfloat16
from srn_d2.checkpoint import AVERAGE, SRNCheckpointer
from srn_d2.checkpoint.checkpointer import BOTTOM_UP
from srn_d2.data import build_face_test_loader, build_face_train_loader
from srn_d2.data.build import DrawSampler
from srn_d2.evaluation import build_evaluator

from .checks import SINGLE_IMAGE, check_batch_norm, check_solver
from .hooks import Evaluate, KeepBestCheckpoint, UpdateAverage
from .resume import (
    fits_optimizer,
    hyperparameters,
    log_changes,
    log_start,
    run_settings,
    settings_of_old_checkpoint,
)
from .schedule import adapt_schedule
from .steps import AMPStep, LoaderWithLast, NonFiniteLossError, Step

logger = logging.getLogger(__name__)

OPTIMIZERS = ("SGD", "AdamW")
SETTINGS = "settings"  # in a checkpoint's state of the trainer
P6_STRIDE = 64

# DistributedDataParallel's option for broadcasting buffers in each step; renamed in torch 2.14.
_SYNC_BUFFERS = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    else "broadcast_buffers"
)


class SRNTrainer(DefaultTrainer):
    """Detectron2's default trainer with the project's data, evaluation and checkpoints.

    It also trains on CPUs, optionally with several gloo workers. A resumed run gets the same
    images and augmentations as an uninterrupted one. A loss that is not finite stops the run
    before the optimizer's step, with the state saved for diagnosis. With SOLVER.EMA_DECAY the
    exponential moving average of the weights is evaluated, and loaded from the checkpoints except
    by ``--resume``.

    Args:
        cfg: configuration with the keys of ``add_srn_config``.

    Raises:
        ValueError: a key has a wrong value, or crops are too small for bfloat16 on a CPU.
    """

    def __init__(self, cfg: CfgNode):
        check_solver(cfg)
        _check_crop_size(cfg)
        # Not DefaultTrainer.__init__: its data-parallel wrapper assumes GPUs.
        TrainerBase.__init__(self)
        cfg = adapt_schedule(cfg, comm.get_world_size())
        model = self.build_model(cfg)
        check_batch_norm(model, cfg.SOLVER.IMS_PER_BATCH / comm.get_world_size())
        optimizer = self.build_optimizer(cfg, model)
        model = _data_parallel(model)
        step_type = AMPStep if cfg.SOLVER.AMP.ENABLED else Step
        self._trainer = step_type(model, LoaderWithLast(self.build_train_loader(cfg)), optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.average = _moving_average(model, cfg.SOLVER.EMA_DECAY)
        resumable = {} if self.average is None else {AVERAGE: self.average}
        self.checkpointer = SRNCheckpointer(
            model, cfg.OUTPUT_DIR, trainer=weakref.proxy(self), **resumable
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.register_hooks(self.build_hooks())

    def resume_or_load(self, resume: bool = True) -> None:
        """Load MODEL.WEIGHTS, or resume from the last checkpoint in OUTPUT_DIR.

        A resumed run goes on in the data where the checkpoint was written, with the learning rate
        and schedule of this config; each setting that has changed is logged.

        Args:
            resume: resume if there is a checkpoint.

        Raises:
            FileNotFoundError: the weights or the checkpoint are not there.
            ValueError: the checkpoint's weights do not fit, or it has no state of a training.
        """
        found = self.checkpointer.has_checkpoint()
        if not (resume and found):
            log_start(self.cfg.OUTPUT_DIR, resume, found)
            self.checkpointer.load(self.cfg.MODEL.WEIGHTS, checkpointables=[])
            return
        path = self.checkpointer.get_checkpoint_file()
        self.checkpointer.strict = True
        self._is_restored = False
        self.checkpointer.load(path)
        if not self._is_restored:
            raise ValueError(
                f"{path} has weights but no state of a training to resume: start from its weights "
                f"by MODEL.WEIGHTS {path}, without --resume"
            )
        # The checkpoint has the iteration that was just finished.
        self.start_iter = self.iter + 1
        self._start_data_at(self.start_iter)

    def _start_data_at(self, iteration: int) -> None:
        """Let the data begin with the batch of an iteration."""
        sampler = getattr(self._trainer.data_loader.loader, "sampler", None)
        if isinstance(sampler, DrawSampler):  # without reading the annotations again
            sampler.start_iter = iteration
        else:
            self._trainer.reset_data_loader(
                lambda: LoaderWithLast(self.build_train_loader(self.cfg, iteration))
            )

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), SETTINGS: run_settings(self.cfg, comm.get_world_size())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a checkpoint's iteration, hooks and optimizer, with this config's settings."""
        before = state_dict.get(SETTINGS) or settings_of_old_checkpoint(state_dict)
        iteration = state_dict["iteration"] + 1
        log_changes(before, run_settings(self.cfg, comm.get_world_size()), iteration)
        wanted, base_lrs = hyperparameters(self.optimizer), self.scheduler.base_lrs
        if not fits_optimizer(state_dict["_trainer"]["optimizer"], self.optimizer):
            logger.warning(
                "The optimizer's state in the checkpoint is of another optimizer or of other "
                "groups of parameters: its moments start anew"
            )
            steps = {**state_dict["_trainer"], "optimizer": self.optimizer.state_dict()}
            state_dict = {**state_dict, "_trainer": steps}
        super().load_state_dict(state_dict)
        for group, values in zip(self.optimizer.param_groups, wanted, strict=True):
            group.update(values)
        self.scheduler.base_lrs = base_lrs
        rates = self.scheduler.get_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._is_restored = True

    def train(self) -> dict | None:
        """Train, and return the last evaluation's results.

        A run that has finished its iterations is evaluated again, and nothing else.
        """
        if self.start_iter >= self.max_iter:
            logger.warning(
                "%s: this run has finished: %d iterations are done, and SOLVER.MAX_ITER is %d. "
                "Nothing is left to train, the last checkpoint is evaluated again; a larger "
                "SOLVER.MAX_ITER trains on",
                *(self.cfg.OUTPUT_DIR, self.start_iter, self.max_iter),
            )
        return super().train()

    def build_hooks(self) -> list[hooks.HookBase]:
        built = super().build_hooks()
        if self.average is not None:
            built.insert(0, UpdateAverage(self.average))
        built = [
            Evaluate(self.cfg.TEST.EVAL_PERIOD, self._evaluate)
            if isinstance(hook, hooks.EvalHook)
            else hook
            for hook in built
        ]
        if comm.is_main_process() and self.cfg.TEST.BEST_METRIC:
            best = KeepBestCheckpoint(
                self.cfg.TEST.EVAL_PERIOD, self.checkpointer, self.cfg.TEST.BEST_METRIC
            )
            built.insert(len(built) - 1, best)  # after the evaluation, before the writers
        return built

    def _evaluate(self) -> dict:
        """Evaluate as DefaultTrainer, with the averaged weights if there are any."""
        model = self.model if self.average is None else self.average.module
        self._last_eval_results = self.test(self.cfg, model)
        return self._last_eval_results

    def run_step(self) -> None:
        self._trainer.iter = self.iter
        try:
            self._trainer.run_step()
        except NonFiniteLossError as error:
            state = Path(self.cfg.OUTPUT_DIR) / f"nonfinite_rank{comm.get_rank()}.pth"
            torch.save(
                {"trainer": self.state_dict(), "model": self.checkpointer.model.state_dict()}, state
            )
            raise NonFiniteLossError(f"{error}\nstate before the step: {state}") from error
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ValueError(SINGLE_IMAGE) from error

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        if cfg.SOLVER.OPTIMIZER not in OPTIMIZERS:
            raise ValueError(
                f"SOLVER.OPTIMIZER is {cfg.SOLVER.OPTIMIZER!r}; valid are {list(OPTIMIZERS)}"
            )
        factor = cfg.SOLVER.BACKBONE_MULTIPLIER
        parameters = get_default_optimizer_params(
            model,
            base_lr=cfg.SOLVER.BASE_LR,
            weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
            bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
            weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
            lr_factor_func=lambda name: factor if name.startswith(BOTTOM_UP) else 1.0,
        )
        optimizer, options = torch.optim.AdamW, {}
        if cfg.SOLVER.OPTIMIZER == "SGD":
            optimizer = torch.optim.SGD
            options = {
                "momentum": cfg.SOLVER.MOMENTUM,
                "nesterov": cfg.SOLVER.NESTEROV,
                "foreach": True,
            }
        return maybe_add_gradient_clipping(cfg, optimizer)(
            parameters, lr=cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY, **options
        )

    @classmethod
    def build_train_loader(cls, cfg: CfgNode, start_iter: int = 0) -> Iterable[list[dict]]:
        return build_face_train_loader(cfg, start_iter)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Iterable[list[dict]]:
        return build_face_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        return build_evaluator(cfg, dataset_name)


def _check_crop_size(cfg: CfgNode) -> None:
    """Refuse bfloat16 on a CPU where p6 is a map of 1 x 1.

    Of p7's convolution, which has stride 2, oneDNN then leaves most of the weights' gradient
    undefined (findings/bfloat16_gradient_of_strided_convolution_on_1x1_maps.sh).
    """
    in_bfloat16 = cfg.MODEL.DEVICE == "cpu" and resolve_cpu_bfloat16(cfg.SOLVER.CPU_BFLOAT16)
    if in_bfloat16 and cfg.INPUT.FACE_CROP_SIZE <= P6_STRIDE:
        raise ValueError(
            f"INPUT.FACE_CROP_SIZE is {cfg.INPUT.FACE_CROP_SIZE}: with crops of up to {P6_STRIDE} "
            "pixels, gradients in bfloat16 are wrong on a CPU; set SOLVER.CPU_BFLOAT16 False"
        )


def _data_parallel(model: nn.Module) -> nn.Module:
    """Wrap the model where there are several workers, on GPUs or on CPUs."""
    if comm.get_world_size() == 1:
        return model
    # Weights of 1 x 1 convolutions are contiguous in channels_last too. Where their strides are not
    # those of their gradients, DistributedDataParallel copies these and warns.
    for parameter in model.parameters():
        if parameter.is_contiguous():
            parameter.data = _with_default_strides(parameter.data)
            if parameter.requires_grad:
                parameter.register_hook(_with_default_strides)
    on_cuda = next(model.parameters()).is_cuda
    return DistributedDataParallel(
        model, device_ids=[comm.get_local_rank()] if on_cuda else None, **{_SYNC_BUFFERS: False}
    )


def _with_default_strides(x: torch.Tensor) -> torch.Tensor:
    """The same memory of a contiguous tensor, dimensions of size 1 with the usual strides."""
    return x.reshape(-1).view(x.shape)


def _moving_average(model: nn.Module, decay: float) -> AveragedModel | None:
    """The exponential moving average of a model's parameters and buffers; None for decay 0."""
    if not 0.0 <= decay < 1.0:
        raise ValueError(f"SOLVER.EMA_DECAY is {decay}: it must be in [0, 1)")
    if decay == 0.0:
        return None
    module = model.module if isinstance(model, DistributedDataParallel) else model
    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
