"""The whole report: its figures, JSON, Markdown and plots, on ground truth made in memory."""

import json

import numpy as np
import pytest
from PIL import Image

from srn_d2.evaluation.widerface import plots
from srn_d2.evaluation.widerface.ap import SETTINGS, WiderFaceGroundTruth, evaluate_wider_face
from srn_d2.evaluation.widerface.face_report import measure_predictions
from srn_d2.evaluation.widerface.report import to_json, to_markdown, write_report

IOUS = (0.5, 0.6, 0.7, 0.8)


def make_ground_truth(num_images=8, seed=0):
    """Square faces of 12 to 150 px on a grid; Easy counts the high ones, Hard all valid ones."""
    rng = np.random.default_rng(seed)
    boxes, counted, attributes = {}, {setting: {} for setting in SETTINGS}, {}
    for name, values in {"blur": 3, "occlusion": 3, "pose": 2, "invalid": 2}.items():
        attributes[name] = {f"0--Parade/{i}": rng.integers(0, values, 9) for i in range(num_images)}
    for i in range(num_images):
        image_id = f"0--Parade/{i}"
        height = rng.choice([12, 14, 20, 28, 40, 80, 120, 150], 9)
        grid = np.stack(np.meshgrid([0, 200, 400], [0, 200, 400]), axis=-1).reshape(9, 2)
        boxes[image_id] = np.column_stack([grid, height, height]).astype(np.int32)
        valid = attributes["invalid"][image_id] == 0
        for setting, least in zip(SETTINGS, (60, 30, 0), strict=True):
            counted[setting][image_id] = valid & (height >= least)
    return WiderFaceGroundTruth(boxes, counted, attributes)


def make_predictions(ground_truth, seed=1):
    """Faces moved by up to a tenth, and as many false positives with lower scores."""
    rng = np.random.default_rng(seed)
    predictions = {}
    for image_id, boxes in ground_truth.boxes.items():
        moved = boxes + rng.uniform(-0.1, 0.1, boxes.shape) * boxes[:, 2:3]
        false = boxes + np.array([100, 100, 0, 0])
        scores = np.concatenate([rng.uniform(0.3, 1, len(moved)), rng.uniform(0, 0.6, len(false))])
        predictions[image_id] = np.column_stack([np.vstack([moved, false]), scores])
    return predictions


def perfect_predictions(ground_truth):
    """Every face exactly, with distinct scores."""
    predictions = {}
    for i, (image_id, boxes) in enumerate(ground_truth.boxes.items()):
        scores = 0.001 + np.linspace(0.9, 0.0, len(boxes)) + 0.001 * i
        predictions[image_id] = np.column_stack([boxes, scores])
    return predictions


@pytest.fixture(scope="module")
def ground_truth():
    return make_ground_truth()


@pytest.fixture(scope="module")
def report(ground_truth):
    return measure_predictions("first", make_predictions(ground_truth), ground_truth, IOUS)


def test_ap_is_the_official_protocols(report, ground_truth):
    official = evaluate_wider_face(make_predictions(ground_truth), ground_truth, IOUS)
    for setting in SETTINGS:
        for threshold in IOUS:
            assert report.results[setting][threshold].ap == official[setting][threshold].ap
    assert 0.1 < report.results["hard"][0.5].ap < 1  # a case that is worth comparing


def test_perfect_detections(ground_truth):
    report = measure_predictions("p", perfect_predictions(ground_truth), ground_truth, IOUS)
    content = to_json(report)
    for setting in content["settings"].values():
        assert setting["ap"] == dict.fromkeys(["0.5", "0.6", "0.7", "0.8"], 1.0)
        assert set(setting["false_positives_at_recall"].values()) == {0}
    assert {group["recall"] for group in content["groups"]} == {1.0}
    for group in report.groups:
        np.testing.assert_allclose(list(group.ap.values()), 1)
    best = report.recommended["best F1"]
    assert (best.precision, best.recall, best.false_positives_per_image) == (1, 1, 0)


def test_ap_falls_with_iou(report):
    for setting in SETTINGS:
        ap = [report.results[setting][threshold].ap for threshold in IOUS]
        assert ap == sorted(ap, reverse=True)
        assert ap[0] > ap[-1]


def test_order_of_detections_does_not_matter(report, ground_truth):
    rng = np.random.default_rng(3)
    shuffled = {key: rng.permutation(a) for key, a in make_predictions(ground_truth).items()}
    other = to_json(measure_predictions("first", shuffled, ground_truth, IOUS))
    expected = to_json(report)
    assert any("not sorted" in warning for warning in other.pop("warnings"))
    expected.pop("warnings")
    assert other == expected


def test_only_listed_images_count(ground_truth):
    predictions = make_predictions(ground_truth)
    listed = ["0--Parade/2", "0--Parade/5"]
    some = measure_predictions("first", predictions, ground_truth, IOUS, listed)

    def only_listed(per_image):
        return {image_id: per_image[image_id] for image_id in listed}

    alone = WiderFaceGroundTruth(
        only_listed(ground_truth.boxes),
        {name: only_listed(per_image) for name, per_image in ground_truth.counted.items()},
        {name: only_listed(per_image) for name, per_image in ground_truth.attributes.items()},
    )
    assert to_json(some) == to_json(measure_predictions("first", predictions, alone, IOUS))
    assert some.num_images == 2


def test_official_iou_is_measured_though_not_asked_for(ground_truth):
    report = measure_predictions("first", make_predictions(ground_truth), ground_truth, [0.75])
    content = to_json(report)
    assert list(content["settings"]["easy"]["ap"]) == ["0.75"]
    assert report.results["easy"][0.5].ap > report.results["easy"][0.75].ap
    assert "| IoU 0.75" in to_markdown([report])


def test_markdown_holds_the_figures(report, ground_truth):
    text = to_markdown([report])
    hard = report.results["hard"][0.5]
    assert f"{100 * hard.ap:.2f}" in text
    assert f"| {hard.num_faces} " in text
    for heading in ("AP by IoU", "recall", "height", "attribute", "score to choose"):
        assert heading in text
    bare = WiderFaceGroundTruth(ground_truth.boxes, ground_truth.counted)
    without = measure_predictions("x", make_predictions(ground_truth), bare, IOUS)
    assert "attribute" not in to_markdown([without])


def test_written_report(report, ground_truth, tmp_path):
    other = measure_predictions("second", perfect_predictions(ground_truth), ground_truth, IOUS)
    files = write_report([report, other], tmp_path / "new" / "folder")
    assert sorted(files) == sorted((tmp_path / "new" / "folder").iterdir())
    json_path, markdown_path, *pictures = files
    assert json.loads(json_path.read_text()) == [to_json(report), to_json(other)]
    markdown = markdown_path.read_text()
    for path in pictures:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert len(np.unique(np.asarray(image))) > 2  # not blank
        assert f"({path.name})" in markdown


def test_plots_show_the_figures(report, ground_truth):
    other = measure_predictions("second", perfect_predictions(ground_truth), ground_truth, IOUS)
    curves = plots.plot_precision_recall([report, other])
    assert [axes.get_title() for axes in curves.axes] == ["Easy", "Medium", "Hard"]
    first, second = curves.axes[2].get_lines()
    np.testing.assert_array_equal(first.get_ydata(), report.results["hard"][0.5].precision)
    assert second.get_label() == "second (100.0)"
    by_iou = plots.plot_ap_by_iou([report]).axes[1].get_lines()[0]
    np.testing.assert_array_equal(by_iou.get_xdata(), IOUS)
    np.testing.assert_allclose(
        by_iou.get_ydata(), [100 * report.results["medium"][t].ap for t in IOUS]
    )
    line, points = plots.plot_false_positives([report]).axes[0].get_lines()
    np.testing.assert_array_equal(line.get_ydata(), report.curves["easy"].false_positives)
    np.testing.assert_array_equal(points.get_ydata(), report.false_positives("easy"))
    bars = plots.plot_groups([report, other], by_height=True).axes[0].containers
    heights = [group for group in report.groups if group.kind == "height"]
    np.testing.assert_allclose(
        [bar.get_width() for bar in bars[0]], [100 * group.ap[0.5] for group in heights]
    )
    precision = plots.plot_thresholds(report).axes[0].get_lines()[0]
    np.testing.assert_array_equal(precision.get_ydata(), report.curves["hard"].precision)


def test_nothing_found_and_nothing_to_find(ground_truth, tmp_path):
    none_counted = {
        setting: {key: np.zeros(9, bool) for key in ground_truth.boxes} for setting in SETTINGS
    }
    empty = WiderFaceGroundTruth(ground_truth.boxes, none_counted, ground_truth.attributes)
    nothing_to_find = measure_predictions("n", make_predictions(ground_truth), empty, IOUS)
    nothing_found = measure_predictions("e", {}, ground_truth, IOUS)
    assert to_json(nothing_to_find)["settings"]["easy"]["ap"]["0.5"] is None
    assert to_json(nothing_found)["settings"]["easy"]["ap"]["0.5"] == 0
    assert nothing_found.warnings == ("there is not a single detection",)
    for reports in ([nothing_to_find, nothing_found], [nothing_found]):
        write_report(reports, tmp_path)
        json.loads((tmp_path / "report.json").read_text())
