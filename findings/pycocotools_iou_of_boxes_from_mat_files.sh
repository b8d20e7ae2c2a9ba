#!/usr/bin/env bash
# pycocotools.mask.iou of boxes that scipy.io.loadmat has read: wrong numbers, no error.
#
# Packages: pycocotools 2.0.11, scipy 1.17.1, numpy 2.4.6.
#
# loadmat returns matrices column by column in memory, as MATLAB has them. mask.iou hands the memory of
# an array of boxes to C code that reads it row by row, and only looks at its shape: each "box" is then
# four neighbours of one column. The result has the right shape and plausible values. A copy in row order
# gives the IoU; astype(float) does not help, since it keeps the order.
#
# It meets whoever computes IoU with WIDER FACE's official ground truth (.mat files) by COCO's code.
#
# Output seen on 2026-12-01, AMD EPYC, Python 3.11, boxes compared with themselves:
# > as read: [0.0, 0.0, 0.0]
# > astype(float): [0.0, 0.0, 0.0]
# > in row order: [1.0, 1.0, 1.0]
#
# Exit status: 0 as described, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  pycocotools==2.0.11 scipy==1.17.1 numpy==2.4.6
cat >"$folder/probe.py" <<'PYTHON'
import sys

import numpy as np
import scipy.io
from pycocotools import mask

path = f"{sys.argv[1]}/boxes.mat"
faces = np.array([[0, 0, 10, 10], [20, 20, 10, 10], [50, 60, 10, 20]], np.float64)
scipy.io.savemat(path, {"face_bbx": faces})
read = scipy.io.loadmat(path)["face_bbx"]
assert np.array_equal(read, faces)
for name, boxes in (
    ("as read", read),
    ("astype(float)", read.astype(float)),
    ("in row order", np.array(read, order="C")),
):
    ious = mask.iou(boxes, faces, [0] * len(faces))
    print(f"> {name}: {[float(value) for value in ious.diagonal()]}")
PYTHON
output=$("$folder/venv/bin/python" "$folder/probe.py" "$folder")
echo "$output"
if [ "$output" = "$(grep '^# > ' "$0" | sed 's/^# //')" ]; then
  echo "as described"
else
  echo "it has changed"
  exit 1
fi
