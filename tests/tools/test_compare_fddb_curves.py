"""tools/compare_fddb_curves.py on a made-up set whose curves this project wrote."""

import numpy as np
import pytest

from srn_d2.evaluation.fddb.evaluator import write_curves
from srn_d2.evaluation.fddb.overlaps import FddbImage
from srn_d2.evaluation.fddb.roc import fddb_curves

# Two faces and three detections, of which the official assignment is not the best one.
FACES = np.array([[20.0, 20, 0, 30, 50], [20, 20, 0, 70, 50]])
BOXES = np.array([[0.0, 30, 20, 70], [28, 32, 70, 68], [72, 32, 100, 68]])
SCORES = np.array([0.9, 0.8, 0.7])


@pytest.fixture
def arguments(tmp_path):
    (tmp_path / "lists").mkdir()
    faces = "".join(" ".join(map(str, face)) + " 1\n" for face in FACES)
    (tmp_path / "lists" / "FDDB-fold-01-ellipseList.txt").write_text(f"a\n2\n{faces}b\n0\n")
    (tmp_path / "image_sizes.txt").write_text("a 120 100\nb 120 100\n")
    rows = [[*box[:2], *(box[2:] - box[:2]), s] for box, s in zip(BOXES, SCORES, strict=True)]
    lines = "".join(" ".join(map(str, row)) + "\n" for row in rows)
    (tmp_path / "found.txt").write_text(f"a\n3\n{lines}b\n0\n")
    curves = fddb_curves([FddbImage(FACES, BOXES, SCORES, (100, 120))])
    write_curves(tmp_path, "found", curves.official)
    with open(tmp_path / "found_DiscROC.txt", "a") as file:
        file.write("0 0 1.79769e+308\n")  # the program's line for image b
    for name in ("DiscROC", "ContROC"):
        (tmp_path / f"found_{name}.txt").rename(tmp_path / f"found.{name}.txt")
    return [
        *("--annotations", str(tmp_path / "lists"), "--image-sizes"),
        *(str(tmp_path / "image_sizes.txt"), "--detections", str(tmp_path / "found.txt")),
        *("--curves", str(tmp_path)),
    ]


def columns(text):
    row = text.splitlines()[-1]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_equal_curves(arguments, load_tool, capsys):
    assert load_tool("compare_fddb_curves").main(arguments) == 0
    name, lines, discrete, continuous, difference, optimal, *_ = columns(capsys.readouterr().out)
    assert [name, lines, discrete, continuous, optimal] == ["found", "3", "0", "0", "0"]
    assert float(difference) <= 5e-7


def test_changed_line_is_found(arguments, load_tool, tmp_path, capsys):
    path = tmp_path / "found.ContROC.txt"
    first, *others = path.read_text().splitlines()
    rate, *rest = first.split()
    changed = " ".join([f"{float(rate) + 1e-5:.6g}", *rest])
    path.write_text("\n".join([changed, *others]) + "\n")
    assert load_tool("compare_fddb_curves").main(arguments) == 1
    _, _, discrete, continuous, difference, *_ = columns(capsys.readouterr().out)
    assert [discrete, continuous] == ["0", "1"]
    assert 9e-6 < float(difference) < 1.1e-5
    path.write_text("\n".join(others) + "\n")
    with pytest.raises(ValueError, match=r"found\.ContROC\.txt, lines: 2 lines, of 3 scores"):
        load_tool("compare_fddb_curves").main(arguments)
