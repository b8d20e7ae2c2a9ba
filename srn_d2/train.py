"""Train or evaluate SRN.

python -m srn_d2.train --config-file srn_R50.yaml --num-gpus 8
python -m srn_d2.train --config-file srn_R50.yaml --num-gpus 8 --resume
python -m srn_d2.train --config-file srn_R50.yaml --eval-only MODEL.WEIGHTS model.pth

A config is a file, or the name of one that comes with the package (srn_d2.model_zoo). With
TEST.SRN_TTA.ENABLED True the last command tests at several scales.
"""

# ruff: noqa: E402 -- the first import of torch and detectron2 pauses the garbage collector.

import argparse
import sys
from collections.abc import Sequence

from srn_d2.heavy_imports import import_heavy

import_heavy("srn_d2.engine")

# isort: split
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.engine import (
    SRNTrainer,
    check_datasets,
    check_solver,
    launch_workers,
    leave_process_group,
    setup_cfg,
)
from srn_d2.inference import SRNWithTTA


def main(args: argparse.Namespace) -> dict | None:
    """Run one worker of a training or an evaluation.

    Args:
        args: as detectron2's ``default_argument_parser`` gives.

    Returns:
        The evaluation's results; None after a training that evaluates nothing.

    Raises:
        ValueError, OSError, KeyError, RuntimeError: the config, the data or the weights are wrong;
            the message says what and how to mend it.
    """
    cfg = setup_cfg(args)
    results = (evaluate if args.eval_only else train)(cfg, resume=args.resume)
    leave_process_group()
    return results


def evaluate(cfg: CfgNode, resume: bool) -> dict:
    """Results on DATASETS.TEST, by task and name.

    Args:
        cfg: config; MODEL.WEIGHTS is evaluated.
        resume: evaluate the last checkpoint in OUTPUT_DIR instead, if there is one.
    """
    check_datasets(cfg, is_training=False)
    model = SRNTrainer.build_model(cfg)
    checkpointer = SRNCheckpointer(model, cfg.OUTPUT_DIR, strict=True)
    if not cfg.MODEL.WEIGHTS and not (resume and checkpointer.has_checkpoint()):
        raise ValueError(
            "MODEL.WEIGHTS is empty: name the checkpoint to evaluate, such as MODEL.WEIGHTS "
            f"{cfg.OUTPUT_DIR}/model_final.pth"
        )
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    if cfg.TEST.SRN_TTA.ENABLED:
        model = SRNWithTTA(cfg, model)
    results = SRNTrainer.test(cfg, model)
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


def train(cfg: CfgNode, resume: bool) -> dict | None:
    """Train, and return the last evaluation's results.

    Args:
        cfg: config of the run.
        resume: resume from the last checkpoint in OUTPUT_DIR.
    """
    check_solver(cfg)
    check_datasets(cfg, is_training=True)
    trainer = SRNTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    return trainer.train()


def invoke_main(argv: Sequence[str] | None = None, epilog: str | None = __doc__) -> None:
    """Launch the workers of a command line, and wait for them.

    A user's error is printed in one sentence; its traceback, if it is another package's, is in
    OUTPUT_DIR/log.txt.

    Args:
        argv: command line arguments; None: this process's.
        epilog: end of the help text.

    Raises:
        SystemExit: with status 1 after an error, 130 after Ctrl-C.
    """
    args = default_argument_parser(epilog).parse_args(argv)
    if status := launch_workers(main, args):
        sys.exit(status)


if __name__ == "__main__":
    # Imported by its full name: workers unpickle main from the module that defines it.
    from srn_d2 import train as this_module

    this_module.invoke_main()
