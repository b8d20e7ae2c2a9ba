"""``srn-d2 evaluate --annotations FILE``: one's own annotations, predictions of every kind."""

import json
import subprocess
import sys

import pytest

from srn_d2 import cli
from srn_d2.evaluation.widerface.prediction_files import format_predictions

FACES = {
    "party/a.jpg": [[120, 80, 64, 81], [300, 92, 58, 70]],
    "party/b.jpg": [[40, 50, 22, 30]],
    "empty.jpg": [],
}
SCORES = {"party/a.jpg": [0.9, 0.8], "party/b.jpg": [0.3], "empty.jpg": []}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The faces as COCO, CSV and WIDER text, without images; perfect predictions of each kind."""
    folder = tmp_path_factory.mktemp("custom")
    ids = {name: i for i, name in enumerate(FACES, start=11)}
    boxes = [(name, box) for name, them in FACES.items() for box in them]
    coco = {
        "images": [{"id": i, "file_name": n, "width": 640, "height": 480} for n, i in ids.items()],
        "annotations": [
            {"id": i, "image_id": ids[name], "category_id": 1, "bbox": box}
            for i, (name, box) in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "face"}],
    }
    (folder / "faces.json").write_text(json.dumps(coco))
    lines = [",".join(map(str, [name, *box])) for name, box in boxes]
    (folder / "faces.csv").write_text("\n".join(["file,x,y,w,h", *lines, "empty.jpg,,,,"]))
    records = [
        "\n".join([n, str(len(b)), *(" ".join(map(str, [*box, *[0] * 6])) for box in b)])
        for n, b in FACES.items()
    ]
    (folder / "faces.txt").write_text("\n".join([*records, "0 0 0 0 0 0 0 0 0 0", ""]))
    _write_predictions(folder, ids)
    return folder


def _write_predictions(folder, ids):
    results, records, lines = [], [], ["file_name,x1,y1,x2,y2,score"]
    for name, boxes in FACES.items():
        rows = [[*box, score] for box, score in zip(boxes, SCORES[name], strict=True)]
        corners = [[[x, y, x + w, y + h], score] for x, y, w, h, score in rows]
        results += [
            {"image_id": ids[name], "category_id": 1, "bbox": row[:4], "score": row[4]}
            for row in rows
        ]
        faces = [{"bbox": box, "score": score} for box, score in corners]
        records.append({"file_name": f"/data/{name}", "height": 480, "width": 640, "faces": faces})
        lines += [",".join(map(str, [name, *box, score])) for box, score in corners]
        path = folder / "wider" / f"{name[:-4]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(format_predictions(name, rows))
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "detected.json").write_text(json.dumps(records))
    (folder / "detected.jsonl").write_text("\n".join(map(json.dumps, records)))
    (folder / "detected.csv").write_text("\n".join(lines))


def evaluate(annotations, predictions, *arguments):
    arguments = ["--annotations", annotations, "--predictions", predictions, *arguments]
    return cli.main(["evaluate", *arguments])


@pytest.mark.parametrize(
    "predictions", ["wider", "results.json", "detected.json", "detected.jsonl", "detected.csv"]
)
@pytest.mark.parametrize("annotations", ["faces.json", "faces.csv", "faces.txt"])
def test_perfect_predictions(folder, monkeypatch, capsys, annotations, predictions):
    monkeypatch.chdir(folder)
    if predictions == "results.json" and annotations != "faces.json":
        assert evaluate(annotations, predictions) == 2  # ids are of the COCO file
        assert "none of its 2 images is annotated: 11; 12" in capsys.readouterr().err
        return
    assert evaluate(annotations, predictions) == 0
    printed = capsys.readouterr()
    assert "COCO-style (mean 100.00) | 3" in printed.out
    assert printed.out.count("100.00") >= 9
    assert "no readable" not in printed.err


def test_whole_report(folder, repo_root):
    command = [sys.executable, "-m", "srn_d2.cli", "evaluate", "--annotations", "faces.json"]
    done = subprocess.run(
        [*command, "--predictions", "ours=detected.json", "w=wider", "--output", "report"],
        cwd=folder,
        env={"PYTHONPATH": str(repo_root), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "3 images, 3 faces, 0 ignored, 0 dropped" in done.stderr
    ours, wider = json.loads((folder / "report" / "report.json").read_text())
    assert (ours["name"], wider["name"]) == ("ours", "w")
    assert ours["coco_ap"] == {"mean": 1, "0.5": 1, "0.6": 1, "0.7": 1, "0.8": 1}
    assert ours["settings"]["all"]["num_faces"] == 3
    row = next(row for row in ours["thresholds"]["table"] if row["score"] == 0.5)
    assert (row["precision"], row["recall"]) == (1, pytest.approx(2 / 3))
    pictures = {path.name for path in (folder / "report").glob("*.png")}
    assert {"precision_recall.png", "ap_by_iou.png", "thresholds.png"} <= pictures
    markdown = (folder / "report" / "report.md").read_text()
    assert markdown.startswith("# Face detection report: ours, w\n")
    curves = json.loads((folder / "report" / "results.json").read_text())
    assert curves["protocol"] == "custom"


def test_listed_images_only(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "list.txt").write_text("a.jpg\n")
    assert evaluate("faces.txt", "wider", "--image-list", "list.txt") == 0
    assert "\n1 images; wider: 2 detections" in capsys.readouterr().out
    (folder / "list.txt").write_text("other.jpg\n")
    assert evaluate("faces.json", "wider", "--image-list", "list.txt") == 2
    assert "1 of 1 names are not of one annotated image each: other.jpg" in capsys.readouterr().err


def test_corners_are_told(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    content = json.loads((folder / "results.json").read_text())
    for record in content:
        x, y, w, h = record["bbox"]
        record["bbox"] = [x, y, x + w, y + h]
    (folder / "corners.json").write_text(json.dumps(content))
    assert evaluate("faces.json", "corners.json") == 1
    assert "100.00 as x1,y1,x2,y2,score" in capsys.readouterr().err
    assert evaluate("faces.json", "corners.json", "--columns", "x1,y1,x2,y2,score") == 0


def test_nothing_to_find(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    (folder / "none.csv").write_text("file,x,y,w,h\nparty/a.jpg,,,,\n")
    assert evaluate("none.csv", "wider") == 2
    assert "none.csv: there is no face to find" in capsys.readouterr().err


def test_without_ground_truth_and_annotations(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert cli.main(["evaluate", "--predictions", "wider"]) == 2
    assert "--annotations FILE (your own faces" in capsys.readouterr().err


def test_numbers_that_are_no_boxes_in_pixels_are_named(folder, tmp_path, capsys):
    sizes = [640, 480, 640, 480]

    def results(change):
        them = json.loads((folder / "results.json").read_text())
        for item in them:
            item["bbox"] = change(item["bbox"])
        (tmp_path / "r.json").write_text(json.dumps(them))
        status = evaluate(str(folder / "faces.json"), str(tmp_path / "r.json"))
        return status, capsys.readouterr().out

    percent = results(lambda box: [100 * b / s for b, s in zip(box, sizes, strict=True)])
    half = results(lambda box: [b / 2 for b in box])
    for status, out in (percent, half):
        assert status == 0
        assert "hardly any detection is on a face (AP at IoU 0.5 is 0.00" in out
    # x, y, w, h where srn-d2 detect writes corners
    records = [
        {
            "file_name": n,
            "faces": [{"bbox": b, "score": s} for b, s in zip(them, SCORES[n], strict=True)],
        }
        for n, them in FACES.items()
    ]
    (tmp_path / "f.json").write_text(json.dumps(records))
    assert evaluate(str(folder / "faces.json"), str(tmp_path / "f.json")) == 1
    assert "give --columns=x,y,w,h,score" in capsys.readouterr().err
    # YOLO with the score behind the class
    for name, boxes in FACES.items():
        rows = [
            f"0 {s} {(x + w / 2) / 640} {(y + h / 2) / 480} {w / 640} {h / 480}\n"
            for (x, y, w, h), s in zip(boxes, SCORES[name], strict=True)
        ]
        path = tmp_path / "yolo" / f"{name[:-4]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(rows))
    assert evaluate(str(folder / "faces.json"), str(tmp_path / "yolo")) == 1
    assert "give --columns=-,score,cx,cy,w,h" in capsys.readouterr().err


def test_a_missing_image_is_named(folder, tmp_path, capsys):
    (tmp_path / "party").mkdir()
    text = (folder / "wider" / "party" / "a.txt").read_text()
    (tmp_path / "party" / "a.txt").write_text(text)
    assert evaluate(str(folder / "faces.json"), str(tmp_path)) == 0
    assert "2 images have no file" in (out := capsys.readouterr().out)
    assert "party/b.jpg; empty.jpg" in out
