"""The schedule of a run: rescaled to the number of workers, with a warm-up that fits into it."""

import logging

from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer

WARMUP_SHARE = 10
"""A warm-up that is as long as the training becomes one in this many of its iterations."""

logger = logging.getLogger(__name__)


def adapt_schedule(cfg: CfgNode, num_workers: int) -> CfgNode:
    """The config with the schedule that the run will have.

    SOLVER.REFERENCE_WORLD_SIZE rescales it as detectron2 does, but no period becomes 0. A warm-up
    that does not end before the training does is shortened, with a warning: the learning rate
    would stay near 0.

    Args:
        cfg: config of the run; ``check_solver`` accepts it.
        num_workers: number of workers of all machines.

    Returns:
        the same config, if nothing is changed, or a copy.
    """
    scaled = DefaultTrainer.auto_scale_workers(cfg, num_workers)
    if scaled is cfg:
        scaled = cfg.clone()
    is_frozen = cfg.is_frozen()
    scaled.defrost()
    solver = scaled.SOLVER
    solver.MAX_ITER, solver.CHECKPOINT_PERIOD = (
        max(1, solver.MAX_ITER),
        max(1, solver.CHECKPOINT_PERIOD),
    )
    if cfg.TEST.EVAL_PERIOD:  # 0 is not "often" but "at the end"
        scaled.TEST.EVAL_PERIOD = max(1, scaled.TEST.EVAL_PERIOD)
    if solver.WARMUP_ITERS and solver.WARMUP_ITERS >= solver.MAX_ITER:
        shortened = solver.MAX_ITER // WARMUP_SHARE
        logger.warning(
            "SOLVER.WARMUP_ITERS is %d, but the training has %d iterations (SOLVER.MAX_ITER): the "
            "warm-up is shortened to %d",
            *(solver.WARMUP_ITERS, solver.MAX_ITER, shortened),
        )
        solver.WARMUP_ITERS = shortened
    if is_frozen:
        scaled.freeze()
    return scaled
