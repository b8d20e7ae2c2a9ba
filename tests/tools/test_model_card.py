"""tools/model_card.py on runs, ground truth and a card made by hand, and its parts."""

import dataclasses
import os

import numpy as np
import pytest
from detectron2.data import MetadataCatalog
from model_card_tables import describe_test, fill_card, read_seconds

from helpers.wider_face_mat import make_ground_truth, write_ground_truth
from srn_d2.checkpoint.shipped_models import find_shipped_model
from srn_d2.evaluation.widerface.prediction_files import write_predictions

# Heights of 40, 20, 100 and 30 pixels.
A, B, C, D = (10, 10, 40, 40), (100, 100, 20, 20), (50, 50, 100, 100), (10, 10, 30, 30)
BOXES = {"0--Parade/a": [A, B], "0--Parade/b": [C], "1--Handshaking/c": [D]}
BLUR = {"0--Parade/a": [0, 2], "0--Parade/b": [0], "1--Handshaking/c": [2]}
# Easy has A and C, Medium D too, Hard all four.
COUNTED = {
    "easy": {"0--Parade/a": [1], "1--Handshaking/c": []},
    "medium": {"0--Parade/a": [1]},
}
# Of falling score: A, C, a false positive, B; D is not found.
FOUND = {
    "0--Parade/a": [(*A, 0.9), (300, 300, 30, 30, 0.7), (*B, 0.5)],
    "0--Parade/b": [(*C, 0.8)],
    "1--Handshaking/c": [],
}
LOG = """\
[11/24 13:00:00] d2.evaluation.evaluator INFO: Total inference time: 0:01:00.0 (9.5 s / iter per \
device, on 1 devices)
[11/24 14:00:00] d2.evaluation.evaluator INFO: Total inference time: 0:01:00.0 (0.352571 s / iter \
per device, on 1 devices)
"""
CARD = """\
# Card

<!-- ap: begin -->
AP was 99.9
<!-- ap: end -->

Prose, <!-- a remark -->

<!-- misses: begin -->
<!-- misses: end -->
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """The name of a data set with ground truth, as WIDER FACE's validation set has it."""
    folder = tmp_path_factory.mktemp("model_card")
    blur = {key: np.array(values) for key, values in BLUR.items()}
    truth = dataclasses.replace(make_ground_truth(BOXES, COUNTED), attributes={"blur": blur})
    write_ground_truth(folder / "ground_truth", truth)
    (folder / "list.txt").write_text("\n".join(BOXES))
    name = "model_card_test"
    MetadataCatalog.get(name).set(
        ground_truth_dir=str(folder / "ground_truth"), annotation_file=str(folder / "list.txt")
    )
    yield name
    MetadataCatalog.pop(name)


@pytest.fixture
def make_run(dataset, small_cfg, tmp_path):
    """Make the OUTPUT_DIR of an evaluation: ``make_run("a", FOUND, "TEST.BFLOAT16", True)``."""

    def make(name, found, *opts):
        cfg = small_cfg("DATASETS.TEST", (dataset,), "MODEL.WEIGHTS", "some/folder/lite.pth", *opts)
        predictions = {
            key: np.array(rows, dtype=float).reshape(-1, 5) for key, rows in found.items()
        }
        folder = tmp_path / name
        write_predictions(folder / "inference" / dataset / "widerface_predictions", predictions)
        (folder / "config.yaml").write_text(cfg.dump())
        (folder / "log.txt").write_text(LOG)
        return folder

    return make


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "card.md"
    path.write_text(CARD)
    return path


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("model_card")


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_figures_of_the_runs_come_into_the_card(tool, make_run, card):
    first = make_run("first", FOUND)
    perfect = FOUND | {"0--Parade/a": [(*A, 0.9), (*B, 0.5)], "1--Handshaking/c": [(*D, 0.1)]}
    second = make_run(
        *("second", perfect, "MODEL.WEIGHTS", "model_0000999.pth", "TEST.SRN_TTA.ENABLED", True)
    )
    (second / "log.txt").write_text("")
    assert tool.main([str(first), str(second), "--output", str(card)]) == 0
    text = card.read_text()
    assert "99.9" not in text
    assert "\n\nProse, <!-- a remark -->\n\n" in text
    assert "3 images" in text
    assert "4 faces of Hard" in text
    rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
    test = "single scale, original size, float32"
    # Hard: B comes after the false positive, D is not found: 1 / 2 + 3 / 4 / 4.
    assert ["lite.pth", test, "100.0", "66.7", "68.8", "0.35"] in rows
    test = "multi-scale, `TEST.SRN_TTA.MAX_SIZE 2100`, float32"
    assert ["model_0000999.pth", test, "100.0", "100.0", "100.0", "-"] in rows
    assert ["all", "-", "1 of 2", "0 of 1", "0 of 1", "1 of 4"] in rows
    assert ["blur: clear", "-", "-", "0 of 1", "0 of 1", "0 of 2"] in rows
    assert ["blur: heavy", "-", "1 of 2", "-", "-", "1 of 2"] in rows
    assert tool.main([str(first), str(second), "--output", str(card)]) == 0
    assert card.read_text() == text


def test_the_first_run_is_the_subject(tool, make_run, card):
    worse = make_run("worse", FOUND | {"0--Parade/b": []})
    assert tool.main([str(worse), str(make_run("better", FOUND)), "--output", str(card)]) == 0
    assert "1 of 1       | 2 of 4" in card.read_text()


def test_the_state_and_the_scores(tool, make_run, card):
    names = ("state", "iou", "heights", "thresholds")
    card.write_text("".join(f"<!-- {n}: begin -->\n<!-- {n}: end -->\n" for n in names))
    assert tool.main([str(make_run("run", FOUND)), "--output", str(card)]) == 0
    text = card.read_text()
    model = find_shipped_model("lite")
    assert f"lite.pth: iteration {model.source['iteration'] + 1:,} of " in text
    assert model.sha256 in text
    rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
    assert ["16-32 px", "2", "50.0", "25.0"] in rows
    assert ["precision of at least 90 %", "0.8", "100.00", "50.00", "0"] in rows
    assert ["lite.pth", "single scale, original size, float32", *["68.8"] * 4] in rows


def test_a_run_that_cannot_be_used_leaves_the_card_alone(tool, make_run, card, tmp_path, capsys):
    good = make_run("good", FOUND)
    incomplete = make_run("incomplete", {"0--Parade/a": FOUND["0--Parade/a"]})
    other = make_run("other", FOUND, "DATASETS.TEST", ("widerface_val",))
    old = make_run("old", FOUND)
    os.utime(old / "log.txt", (0, 0))
    for run, message in {
        tmp_path / "absent": "absent",
        incomplete: "no complete evaluation: 2 images have no file",
        other: "one data set",
        old: "evaluate these weights again",
    }.items():
        assert tool.main([str(good), str(run), "--output", str(card)]) == 2
        assert message in capsys.readouterr().err
    assert tool.main([str(good), "--output", str(card), str(good / "log.txt")]) == 2
    assert "log.txt: no section" in capsys.readouterr().err
    assert card.read_text() == CARD


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- ap: begin -->\n", "no end"),
        ("<!-- ap: begin -->\n<!-- iou: end -->", "no end"),
        ("<!-- ap: begin -->\n<!-- ap: end --><!-- iou: begin -->", "no end"),
        ("<!-- size: begin -->\n<!-- size: end -->", "size"),
    ],
)
def test_sections_are_checked(text, message):
    with pytest.raises(ValueError, match=message):
        fill_card(text, {"ap": "", "iou": ""})


def test_a_section_may_hold_what_a_pattern_would_mean():
    text = "<!-- ap: begin -->\nold\n<!-- ap: end -->"
    assert fill_card(text, {"ap": r"\1 \g<name>"}) == text.replace("old", r"\1 \g<name>")


def test_the_test_of_a_run_in_words(small_cfg):
    assert describe_test(small_cfg()) == "single scale, original size, float32"
    bfloat16 = small_cfg("SOLVER.CPU_BFLOAT16", True, "INPUT.MIN_SIZE_TEST", 640)
    assert describe_test(bfloat16) == "single scale, shorter side 640, bfloat16"
    on_gpu = ["MODEL.DEVICE", "cuda"]
    assert describe_test(small_cfg(*on_gpu, "SOLVER.CPU_BFLOAT16", True)).endswith("float32, GPU")
    assert describe_test(small_cfg(*on_gpu, "TEST.BFLOAT16", True)).endswith("bfloat16, GPU")


def test_seconds_are_those_of_the_last_inference():
    assert read_seconds(LOG) == 0.352571
    assert read_seconds("nothing") is None
