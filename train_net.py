#!/usr/bin/env python
"""Train or evaluate SRN.

python train_net.py --config-file configs/srn_R50.yaml --num-gpus 8
python train_net.py --config-file configs/srn_R50.yaml --num-gpus 8 --resume
python train_net.py --config-file configs/srn_R50.yaml --eval-only MODEL.WEIGHTS model.pth

With TEST.SRN_TTA.ENABLED True the last one tests at several scales. All of it is in
srn_d2/train.py, which an installed package runs as `python -m srn_d2.train`.
"""

from srn_d2.train import invoke_main, main

__all__ = ["main"]  # for workers, and for whoever runs it without a process of its own

if __name__ == "__main__":
    invoke_main(epilog=__doc__)
