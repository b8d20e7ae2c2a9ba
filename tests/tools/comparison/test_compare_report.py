"""The tables and the plot of the comparison, of made-up predictions whose figures are known."""

import itertools
import json

import numpy as np
import pytest

from benchmarks.timing import Spread
from comparison.plots import plot_ap_against_seconds
from comparison.report import to_json, to_markdown, write_comparison
from comparison.rows import Row
from comparison.tables import best_scales, main_table, scale_table
from helpers.wider_face_mat import make_ground_truth
from image_lists import ImageList
from srn_d2.evaluation.widerface.face_report import measure_predictions

# Ten images of one face each, all of them of Hard, the first of Easy alone; five in each list.
IMAGE_IDS = [f"event/{index}" for index in range(10)]
FACE, FALSE = (20, 20, 49, 49), (200, 200, 49, 49)
# Moved by 10 of 50 pixels (corners count as pixels): IoU 40 / 60.
LOOSE = (30, 20, 49, 49)
ALL = ImageList("all", tuple(IMAGE_IDS))
SEEN, OTHER = ImageList("seen", ALL.image_ids[:5]), ImageList("other", ALL.image_ids[5:])
LISTS = [ALL, SEEN, OTHER]


@pytest.fixture(scope="module")
def truth():
    not_easy = {image_id: [] for image_id in IMAGE_IDS[1:]}
    boxes = {image_id: [FACE] for image_id in IMAGE_IDS}
    return make_ground_truth(boxes, {"easy": not_easy})


@pytest.fixture(scope="module")
def make_row(truth):
    """``make_row("a", [(0.9, FACE), ...])``: a row of what is found in the images in turn."""

    def make(name, found, title=None, scale=1.0, seconds=None):
        predictions = {
            image_id: np.array([(*box, score)], dtype=float)
            for image_id, (score, box) in zip(IMAGE_IDS, found, strict=False)
        }
        reports = {
            images.name: measure_predictions(name, predictions, truth, images=images.image_ids)
            for images in LISTS
        }
        spread = None if seconds is None else Spread(0.9 * seconds, seconds, 1.1 * seconds)
        return Row(name, title or name.title(), f"settings of {name}", scale, None, reports, spread)

    return make


@pytest.fixture(scope="module")
def rows(make_row):
    """One detector at two scales, of which the larger is worse on the other events; and a peer."""
    scores = np.linspace(0.95, 0.5, 10)
    eight = [(score, FACE) for score in scores[:8]]
    worse = [(score, FACE if i < 5 else FALSE) for i, score in enumerate(scores)]
    loose = [(score, LOOSE) for score in scores]
    return [
        make_row("ours", eight, seconds=0.1),
        make_row("ours-larger", worse, "Ours", 1.5, seconds=0.2),
        make_row("peer", loose, seconds=0.05),
    ]


def cells(text, *start):
    """The cells of a table's only row that begins with these."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines()]
    [found] = (row for row in rows if row[: len(start)] == list(start))
    return found[len(start) :]


def section(text, title):
    """The part of a report below a heading, up to the next of whatever level."""
    return text.split(f"# {title}\n", 1)[1].split("\n#")[0]


def of_lists(text, title):
    """The parts below a heading of each list."""
    return [section(part, title) for part in text.split("## Images: ")[1:]]


def test_main_table_has_each_list_apart(rows):
    text = main_table(rows, LISTS)
    settings = ["Easy", "Medium", "Hard"]
    by_list = [f"{name}: {setting}" for name in ("all", "seen", "other") for setting in settings]
    assert cells(text, "detector") == ["scale", "seconds an image", *by_list]
    assert cells(text, "Ours", "1")[0] == "0.1 [0.09, 0.11]"
    assert cells(text, "Ours", "1")[1:4] == ["100.0", "80.0", "**80.0**"]
    assert cells(text, "Ours", "1")[4:7] == ["100.0", "100.0", "**100.0**"]
    assert cells(text, "Ours", "1")[7:] == ["-", "60.0", "**60.0**"]
    assert cells(text, "Ours", "1.5")[1:4] == ["100.0", "50.0", "50.0"]
    assert cells(text, "Ours", "1.5")[7:] == ["-", "0.0", "0.0"]
    assert cells(text, "Peer", "1")[3] == "100.0"  # a single scale is not bold
    assert cells(main_table(rows, [ALL]), "detector")[2:] == settings


def test_best_scale(rows, make_row):
    text = scale_table(rows, LISTS)
    assert cells(text, "detector", "images") == ["scale 1", "scale 1.5", "best on Hard"]
    assert cells(text, "Ours", "all") == ["80.0", "50.0", "1"]
    assert cells(text, "Ours", "other") == ["60.0", "0.0", "1"]
    assert "Peer" not in text
    assert scale_table([rows[0], rows[2]], LISTS) is None
    # Of equal AP the smaller one; the larger one where it is better.
    assert best_scales(rows, "seen") == {"Ours": 1.0}
    better = make_row("ours-larger", [(0.9 - i / 100, FACE) for i in range(10)], "Ours", 1.5)
    assert best_scales([better, rows[0]], "other") == {"Ours": 1.5}
    folder = make_row("folder", [(0.9, FACE)], "Ours", None)
    assert best_scales([rows[0], folder], "all") == {}


def test_report_begins_with_the_main_table_and_has_all_others(rows):
    text = to_markdown(rows, LISTS, None, has_times=True)
    assert "10 images of WIDER FACE's validation set; of these seen: 5, other: 5." in text
    assert text.index(main_table(rows, LISTS)) < text.index("\n## ")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    order = ["## Best scale on Hard", "## AP against time", "## Images: all (10)"]
    order += ["## Images: seen (5)", "## Images: other (5)", "## Score thresholds"]
    order += ["## Precision and recall", "## Settings for AP"]
    assert [line for line in headings if line in order] == order
    assert cells(section(text, "Settings for AP"), "Ours, scale 1.5") == ["settings of ours-larger"]


def test_ap_by_iou(rows):
    whole, _, other = of_lists(to_markdown(rows, LISTS, None), "AP by IoU")
    assert cells(whole, "detector")[2:] == ["IoU 0.5", "IoU 0.6", "IoU 0.7", "IoU 0.8"]
    assert cells(whole, "Peer", "Hard") == ["10", "100.00", "100.00", "0.00", "0.00"]
    assert cells(whole, "Peer", "Easy") == ["1", "100.00", "100.00", "0.00", "0.00"]
    assert cells(whole, "Ours", "Medium") == ["10", *["80.00"] * 4]
    assert cells(other, "Ours", "Hard") == ["5", *["60.00"] * 4]


def test_false_positives_at_recall(make_row):
    # False positives of scores between those of faces: after one face, and after four.
    found = [(0.9, FACE), (0.8, FALSE), (0.7, FACE), (0.6, FACE), (0.5, FACE), (0.4, FALSE)]
    found += [(0.3, FALSE), (0.2, FACE), (0.1, FACE)]
    text = to_markdown([make_row("peer", found)], LISTS, None)
    whole, seen, other = of_lists(text, "False positives at a recall")
    assert cells(whole, "detector", "setting") == ["10 %", "30 %", "50 %", "80 %", "90 %", "95 %"]
    assert cells(whole, "Peer", "Hard") == ["0", "1", "3", "-", "-", "-"]
    assert cells(seen, "Peer", "Hard") == ["0", "1", "1", "1", "-", "-"]
    assert cells(other, "Peer", "Hard") == ["2", "2", "-", "-", "-", "-"]


def test_score_thresholds(make_row):
    # Ten images: at most 0.1 false positives an image is one of them, 0.01 none.
    found = [(0.9, FACE), (0.8, FACE), (0.7, FALSE), (0.6, FACE), (0.5, FACE), (0.4, FACE)]
    found += [(0.3, FACE), (0.2, FALSE), (0.1, FALSE)]
    row = make_row("peer", found)
    text = to_markdown([row], LISTS, None)
    wanted = {
        "Best F1": ["0.3", "85.71", "60.00", "0.1"],
        "Precision of at least 90 %": ["0.8", "100.00", "20.00", "0"],
        "Precision of at least 95 %": ["0.8", "100.00", "20.00", "0"],
        "Precision of at least 99 %": ["0.8", "100.00", "20.00", "0"],
        "At most 1 false positives an image": ["0.3", "85.71", "60.00", "0.1"],
        "At most 0.1 false positives an image": ["0.3", "85.71", "60.00", "0.1"],
        "At most 0.01 false positives an image": ["0.8", "100.00", "20.00", "0"],
    }
    assert {aim: cells(section(text, aim), "Peer") for aim in wanted} == wanted
    written = to_json([row], LISTS, None)["detectors"]["peer"]["lists"]
    by_list = {name: x["thresholds"]["recommended"]["best F1"] for name, x in written.items()}
    assert by_list["all"]["score"] == 0.3
    assert by_list["seen"]["recall"] == 0.8


def test_plot_of_ap_against_seconds(rows, make_row):
    figure = plot_ap_against_seconds([*rows, make_row("untimed", [(0.9, FACE)])], LISTS)
    titles = ["all (10 images)", "seen (5 images)", "other (5 images)"]
    assert [axes.get_title() for axes in figure.axes] == titles
    for axes, wanted in zip(figure.axes, (80, 100, 60), strict=True):
        assert axes.get_xscale() == "log"
        points = {text.get_text(): text.xy for text in axes.texts}
        assert points.keys() == {"ours", "ours-larger", "peer"}
        assert points["ours"] == pytest.approx((0.1, wanted))
        joined = np.array([points["ours"], points["ours-larger"]])
        assert any(np.array_equal(line.get_xydata(), joined) for line in axes.lines)
    assert plot_ap_against_seconds([make_row("untimed", [(0.9, FACE)])], LISTS) is None


def test_labels_of_near_points_do_not_cover_each_other(make_row):
    found = [(0.9, FACE), (0.8, FACE)]
    rows = [make_row(f"detector-{i}", found, seconds=0.1 + 0.001 * i) for i in range(4)]
    [axes] = plot_ap_against_seconds(rows, [ALL]).axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 4
    assert all(a.count_overlaps([b]) == 0 for a, b in itertools.combinations(boxes, 2))


def test_files_of_a_run_without_seconds(rows, make_row, tmp_path):
    written = write_comparison(rows, LISTS, None, tmp_path)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    assert tmp_path / "ap_against_seconds.png" in written
    assert "(ap_against_seconds.png)" in (tmp_path / "comparison.md").read_text()
    # A plot of other figures does not stay beside the tables.
    untimed = make_row("untimed", [(0.9, FACE), (0.8, FACE)])
    written = write_comparison([untimed], LISTS, None, tmp_path)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    assert not (tmp_path / "ap_against_seconds.png").exists()
    assert "ap_against_seconds" not in (tmp_path / "comparison.md").read_text()
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["lists"] == {"all": 10, "seen": 5, "other": 5}
    settings = content["detectors"]["untimed"]["lists"]["seen"]["settings"]
    assert settings["hard"]["ap"] == dict.fromkeys(["0.5", "0.6", "0.7", "0.8"], 0.4)
