#!/usr/bin/env python
"""Train or evaluate SRN.

python train_net.py --config-file configs/srn_R50.yaml --num-gpus 8
python train_net.py --config-file configs/srn_R50.yaml --num-gpus 8 --resume
python train_net.py --config-file configs/srn_R50.yaml --eval-only MODEL.WEIGHTS model.pth

With TEST.SRN_TTA.ENABLED True the last one tests at several scales.
"""

import argparse

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, launch
from detectron2.evaluation import verify_results
from detectron2.utils import comm

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.engine import SRNTrainer, leave_process_group, setup_cfg
from srn_d2.inference import SRNWithTTA


def main(args: argparse.Namespace) -> dict | None:
    cfg = setup_cfg(args)
    results = (evaluate if args.eval_only else train)(cfg, resume=args.resume)
    leave_process_group()
    return results


def evaluate(cfg: CfgNode, resume: bool) -> dict:
    model = SRNTrainer.build_model(cfg)
    checkpointer = SRNCheckpointer(model, cfg.OUTPUT_DIR, strict=True)
    checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    if cfg.TEST.SRN_TTA.ENABLED:
        model = SRNWithTTA(cfg, model)
    results = SRNTrainer.test(cfg, model)
    if comm.is_main_process():
        verify_results(cfg, results)
    return results


def train(cfg: CfgNode, resume: bool) -> dict | None:
    trainer = SRNTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    return trainer.train()


def invoke_main() -> None:
    args = default_argument_parser(epilog=__doc__).parse_args()
    launch(
        main,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )


if __name__ == "__main__":
    invoke_main()
