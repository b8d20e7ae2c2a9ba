#!/usr/bin/env bash
# WIDER FACE's attributes in datumaro: each of the last three has the place of another.
#
# Package: datumaro 1.13.0.
#
# A line of wider_face_*_bbx_gt.txt is "x y w h blur expression illumination invalid occlusion pose"
# (readme.txt of the official wider_face_split). datumaro takes the last three for "occluded", "pose"
# and "invalid":
#
# 1. Read: a face marked invalid (to be ignored) becomes an occluded face that counts, and a face of
#    an atypical pose becomes an invalid one.
# 2. Written: an occluded face, as from CVAT's XML, has True at the place of "invalid". Whoever reads
#    the official order ignores all occluded faces.
#
# It meets whoever converts WIDER FACE with datumaro, or exports it from CVAT's boxes. It cancels out if
# both ways go through datumaro.
#
# Output seen on 2026-11-29, AMD EPYC, Python 3.11:
# > read, invalid 1: occluded 1, pose 0, invalid 0
# > read, occlusion 2: occluded 0, pose 2, invalid 0
# > read, pose 1: occluded 0, pose 0, invalid 1
# > written, occluded: 10.0 5.0 20.0 30.0 - - - True - -
#
# Exit status: 0 as described, 1 if it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datumaro==1.13.0
cat >"$folder/probe.py" <<'PYTHON'
import sys
from pathlib import Path

from datumaro import Dataset
from PIL import Image

folder = Path(sys.argv[1])
official = folder / "official"
(official / "WIDER_val/images/0--Parade").mkdir(parents=True)
(official / "wider_face_split").mkdir()
Image.new("RGB", (64, 48)).save(official / "WIDER_val/images/0--Parade/a.jpg")
faces = {"invalid 1": "1 0 0", "occlusion 2": "0 2 0", "pose 1": "0 0 1"}
lines = ["0--Parade/a.jpg", str(len(faces)), *(f"10 5 20 30 0 0 0 {x}" for x in faces.values())]
text = official / "wider_face_split/wider_face_val_bbx_gt.txt"
text.write_text("\n".join(lines) + "\n")
[item] = Dataset.import_from(str(official), "wider_face")
boxes = [a for a in item.annotations if a.type.name == "bbox"]
for name, box in zip(faces, boxes, strict=True):
    found = ", ".join(f"{key} {box.attributes[key]}" for key in ("occluded", "pose", "invalid"))
    print(f"> read, {name}: {found}")

cvat = folder / "cvat"
(cvat / "images").mkdir(parents=True)
Image.new("RGB", (64, 48)).save(cvat / "images/a.jpg")
(cvat / "annotations.xml").write_text(
    "<annotations><version>1.1</version><meta><task><labels><label><name>face</name></label>"
    '</labels></task></meta><image id="0" name="a.jpg" width="64" height="48"><box label="face" '
    'occluded="1" xtl="10" ytl="5" xbr="30" ybr="35"></box></image></annotations>'
)
Dataset.import_from(str(cvat), "cvat").export(str(folder / "out"), "wider_face")
[written] = (folder / "out/wider_face_split").iterdir()
print(f"> written, occluded: {written.read_text().splitlines()[2].strip()}")
PYTHON
output=$("$folder/venv/bin/python" "$folder/probe.py" "$folder" 2>/dev/null)
echo "$output"
if [ "$output" = "$(grep '^# > ' "$0" | sed 's/^# //')" ]; then
  echo "as described"
else
  echo "it has changed"
  exit 1
fi
