#!/usr/bin/env python
"""Rename the weights of the authors' released SRN.pth to this project's names.

python tools/convert_released_weights.py SRN.pth srn_released.pkl
python tools/convert_released_weights.py SRN.pth srn_released.pth

Both files load with `--config-file configs/srn_R50_released.yaml MODEL.WEIGHTS <file>`, as SRN.pth
itself does. The .pkl is of plain numpy arrays, in the format of detectron2's model zoo.
"""

import argparse
import pickle
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from srn_d2.atomic_file import atomic_path
from srn_d2.checkpoint import load_released_checkpoint

AUTHOR = "SRN, released by its authors; renamed by tools/convert_released_weights.py"
FORMATS = (".pkl", ".pth")

# torch raises RuntimeError or EOFError for a file that is none of its own.
INPUT_ERRORS = (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the released file, such as SRN.pth")
    parser.add_argument("target", type=Path, help="file to write: *.pkl or *.pth")
    args = parser.parse_args(argv)
    if args.target.suffix not in FORMATS:
        parser.error(f"{args.target} must end in {' or '.join(FORMATS)}")
    return args


def write(weights: Mapping[str, Tensor], target: Path) -> None:
    """Write ``target`` as its suffix says, whole or not at all."""
    with atomic_path(target) as draft:
        if target.suffix == ".pth":
            torch.save({"model": dict(weights), "__author__": AUTHOR}, draft)
            return
        arrays = {name: weight.numpy() for name, weight in weights.items()}
        draft.write_bytes(pickle.dumps({"model": arrays, "__author__": AUTHOR}))


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 2 if the file cannot be read or has other keys."""
    args = parse_args(argv)
    try:
        weights = load_released_checkpoint(args.source)
        write(weights, args.target)
    except INPUT_ERRORS as error:
        print(f"error: {args.source}: {error}", file=sys.stderr)
        return 2
    print(f"{len(weights)} weights renamed: {args.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
