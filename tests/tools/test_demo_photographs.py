"""tools/demo_photographs.py with the weights that come with the package."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from srn_d2 import Faces

pytest.importorskip("skimage", reason="scikit-image is not installed: pip install scikit-image")


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("demo_photographs")


def test_the_faces_are_found_and_drawn(tool, tmp_path, capsys):
    page = tmp_path / "readme" / "faces.jpg"
    assert tool.main(["--output", str(tmp_path), "--montage", str(page)]) == 0
    records = json.loads((tmp_path / "faces.json").read_text())
    assert [record["name"] for record in records] == ["astronaut", "grace_hopper"]
    printed = capsys.readouterr().out
    for record, photograph in zip(records, tool.load_photographs(), strict=True):
        drawn = np.asarray(Image.open(tmp_path / f"{record['name']}.jpg"))
        assert drawn.shape == photograph.pixels.shape
        assert (record["height"], record["width"]) == drawn.shape[:2]
        assert f"{record['name']}: {len(record['faces'])} found" in printed
        x1, y1, x2, y2 = (round(value) for value in record["faces"][0]["bbox"])
        frame = [drawn[y1, x1:x2], drawn[y1:y2, x1]]
        assert is_green(np.concatenate(frame)).mean() > 0.5
    with Image.open(page) as picture:
        assert 890 <= picture.width <= 900
    assert page.stat().st_size <= 150_000


def is_green(pixels):
    red, green, blue = pixels.astype(int).T
    return (green > red + 60) & (green > blue + 60)


def test_a_face_that_is_not_found_is_reported(tool, capsys):
    photograph = tool.Photograph("a", np.zeros((100, 100, 3), np.uint8), (10, 10, 50, 60))
    far, near = [[60, 60, 90, 90]], [[60, 60, 90, 90], [12, 14, 52, 60]]
    assert not tool.report(photograph, Faces(np.zeros((0, 4)), [], (100, 100)))
    assert not tool.report(photograph, Faces(far, [0.9], (100, 100)))
    assert capsys.readouterr().out.count("[10, 10, 50, 60] is not among them (best IoU 0.00)") == 2
    assert tool.report(photograph, Faces(near, [0.9, 0.3], (100, 100)))
    assert "not among" not in capsys.readouterr().out


def test_the_montage_puts_boxes_where_the_faces_are(tool):
    black = np.zeros((200, 100, 3), np.uint8)
    photographs = [tool.Photograph("a", black, (0, 0, 1, 1))] * 2
    none = Faces(np.zeros((0, 4)), [], (200, 100))
    picture = tool.montage(photographs, [none, Faces([[10, 100, 60, 150]], [0.5], (200, 100))])
    assert picture.shape[1] == 900
    scale = picture.shape[0] / 200
    green = is_green(picture.reshape(-1, 3)).reshape(picture.shape[:2])
    # Lines, not the score above the box.
    rows, columns = (np.flatnonzero(green.sum(axis=axis) > 100) for axis in (1, 0))
    left = 453  # of the second photograph, after a gap of 6 pixels
    expected = [100 * scale, 150 * scale, left + 10 * scale, left + 60 * scale]
    found = [rows.min(), rows.max(), columns.min(), columns.max()]
    np.testing.assert_allclose(found, expected, atol=4)


def test_a_missing_package_names_the_extra(tool, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "skimage.data", None)
    assert tool.main([]) == 2
    assert "srn_d2[demo]" in capsys.readouterr().err
