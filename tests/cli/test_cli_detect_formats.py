"""``srn-d2 detect`` on a folder of all kinds of pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.detect_files import files_below, save_image


def test_all_that_can_be_read_is_done(detect, tmp_path):
    names = [f"a.{suffix}" for suffix in ("jpg", "jfif", "gif", "avif", "jpe", "jp2", "mpo", "tga")]
    for name in names:
        save_image(tmp_path / "in" / name, format="MPO" if name == "a.mpo" else None)
    save_image(tmp_path / "in" / ".thumbnails" / "a.jpg")
    (tmp_path / "in" / "._a.jpg").write_text("no picture")
    status, messages = detect(tmp_path / "in", "--blur")
    assert status == 0, messages
    assert "2 files or folders passed over" in messages
    written = {"a.jp2": "a.jp2.jpg", "a.tga": "a.tga.png"}
    pictures = sorted(written.get(name, name) for name in names)
    assert [name for name in files_below(tmp_path / "out") if name.startswith("a.")] == pictures
    records = json.loads((tmp_path / "out" / "faces.json").read_text())
    assert [Path(record["file_name"]).name for record in records] == sorted(names)
    assert all(record["faces"] for record in records)


def test_what_cannot_be_read_is_named(detect, tmp_path):
    save_image(tmp_path / "in" / "good.png")
    save_image(tmp_path / "in" / "raw.nef", format="TIFF")
    (tmp_path / "in" / "drawing.svg").write_text("<svg/>")
    (tmp_path / "in" / "film").write_bytes(b"\0\0\0\x18ftypisom" + bytes(100))
    (tmp_path / "in" / "link.jpg").symlink_to("absent")
    status, messages = detect(tmp_path / "in")
    assert status == 1
    assert "1 link that leads nowhere" in messages
    for text in ("raw.nef failed: a camera's raw", "drawing.svg failed", "film failed: it seems"):
        assert text in messages
    assert (tmp_path / "out" / "good.png").is_file()


def test_parquet_has_frames_and_notes(detect, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    first, second = (Image.new("RGB", (60, 50), color) for color in ("red", "blue"))
    (tmp_path / "in").mkdir()
    first.save(tmp_path / "in" / "a.gif", save_all=True, append_images=[second], duration=250)
    second.save(tmp_path / "in" / "b.tif", save_all=True, append_images=[first])
    deep = np.linspace(0, 4095, 50 * 60).reshape(50, 60).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "in" / "c.png")
    status, messages = detect(tmp_path / "in", "--format", "json,parquet", "--no-pictures")
    assert status == 0, messages
    records = json.loads((tmp_path / "out" / "faces.json").read_text())
    rows = parquet.read_table(tmp_path / "out" / "faces.parquet").to_pylist()
    rows = {row["file_name"]: row for row in rows}
    for record in records:
        row = rows[record["file_name"]]
        assert dict(row["notes"] or {}) == record.get("notes", {})
        frames = [{k: v for k, v in x.items() if v is not None} for x in row["frames"] or []]
        assert frames == record.get("frames", [])
    assert [len(record.get("frames", ())) for record in records] == [2, 2, 0]
    assert "notes" in records[2]


def test_faces_of_all_frames_in_all_files_of_faces(detect, tmp_path):
    frames = [save_image(tmp_path / f"{index}.png", seed=index) for index in range(2)]
    first, second = (Image.open(path) for path in frames)
    (tmp_path / "in").mkdir()
    first.save(tmp_path / "in" / "a.tif", save_all=True, append_images=[second])
    status, messages = detect(tmp_path / "in", "--format", "json,csv,wider", "--no-pictures")
    assert status == 0, messages
    [record] = json.loads((tmp_path / "out" / "faces.json").read_text())
    in_frames = [[face["frame"] for face in record["faces"]].count(index) for index in range(2)]
    assert min(in_frames) > 0
    rows = (tmp_path / "out" / "faces.csv").read_text().splitlines()
    assert rows[0].endswith(",frame")
    assert [row.split(",")[-1] for row in rows[1:]] == ["0"] * in_frames[0] + ["1"] * in_frames[1]
    text = (tmp_path / "out" / "wider" / "a.txt").read_text().splitlines()
    assert text[1] == str(in_frames[0])
