"""Pictures and plots: who is found, what is drawn where, which scalars are read."""

import json

import demo_plots
import numpy as np
import pytest
import torch
from demo_plots import Outcome
from detectron2.structures import Boxes, Instances
from PIL import Image

FOUND, FALSE, MISSED, IGNORED = Outcome.FOUND, Outcome.FALSE, Outcome.MISSED, Outcome.IGNORED


def match(detected, annotated, is_ignored=None):
    is_ignored = is_ignored or [False] * len(annotated)
    return demo_plots.match_detections(
        Boxes(torch.tensor(detected, dtype=torch.float32).reshape(-1, 4)),
        Boxes(torch.tensor(annotated, dtype=torch.float32).reshape(-1, 4)),
        torch.tensor(is_ignored, dtype=torch.bool),
    )


def detections_of(boxes, size=(60, 80)):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    scores = torch.linspace(0.9, 0.6, len(boxes))
    return Instances(size, pred_boxes=Boxes(boxes), scores=scores)


@pytest.mark.parametrize(
    ("detected", "annotated", "is_ignored", "outcomes", "faces"),
    [
        ([], [], [], [], []),
        ([], [(0, 0, 9, 9)], [False], [], [MISSED]),
        ([(0, 0, 9, 9)], [], [], [FALSE], []),
        ([(0, 0, 10, 10)], [(0, 0, 10, 20)], [False], [FOUND], [FOUND]),  # IoU 0.5: enough
        ([(0, 0, 10, 9)], [(0, 0, 10, 20)], [False], [FALSE], [MISSED]),
        # One face is found once, by the better detection.
        ([(0, 0, 9, 9), (0, 0, 9, 9)], [(0, 0, 9, 9)], [False], [FOUND, FALSE], [FOUND]),
        # Two faces, two detections that both prefer the first.
        (
            [(0, 0, 10, 10), (1, 0, 11, 10)],
            [(0, 0, 10, 10), (3, 0, 13, 10)],
            [False, False],
            [FOUND, FOUND],
            [FOUND, FOUND],
        ),
        # An ignore region takes any number, however small they are against it.
        (
            [(0, 0, 5, 5), (5, 5, 9, 9), (95, 95, 120, 120)],
            [(0, 0, 100, 100)],
            [True],
            [IGNORED, IGNORED, FALSE],
            [IGNORED],
        ),
        # A face inside an ignore region is found first.
        ([(0, 0, 9, 9)], [(0, 0, 50, 50), (0, 0, 9, 9)], [True, False], [FOUND], [IGNORED, FOUND]),
    ],
)
def test_detections_find_faces(detected, annotated, is_ignored, outcomes, faces):
    assert match(detected, annotated, is_ignored) == (outcomes, faces)


def test_a_comparison_has_the_three_colours():
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    annotated = Boxes(torch.tensor([[5.0, 5, 20, 20], [50, 30, 70, 50]]))
    detections = detections_of([(5, 5, 20, 20), (30, 5, 45, 20)])
    drawn = demo_plots.draw_comparison(image, detections, annotated, torch.zeros(2).bool())
    red, green, blue = (drawn[..., channel].astype(int) for channel in range(3))
    assert not blue.any()
    assert ((green > 0) & (red == 0))[:25, :25].any(), "found: green"
    assert ((red > 0) & (green == 0))[:25, 25:50].any(), "false: red"
    assert ((red > 0) & (green > 0))[25:, 45:].any(), "missed: yellow"


def test_a_grid_holds_every_picture_in_its_cell():
    pictures = [
        np.full((height, width, 3), value, dtype=np.uint8)
        for height, width, value in [(50, 200, 10), (1, 1, 20), (300, 30, 30), (40, 40, 40)]
    ]
    grid = demo_plots.image_grid(pictures, columns=3, cell=64)
    assert grid.shape == (128, 192, 3)
    for index, picture in enumerate(pictures):
        top, left = index // 3 * 64, index % 3 * 64
        cell = grid[top : top + 64, left : left + 64]
        assert (cell[32, 32] == picture[0, 0]).all()
        ys, xs = (cell[..., 0] != 255).nonzero()
        height, width = np.ptp(ys) + 1, np.ptp(xs) + 1
        assert max(height, width) == 60
        assert height / width == pytest.approx(picture.shape[0] / picture.shape[1], rel=0.1)
    assert (grid[64:, 64:] == 255).all()


def test_a_comparison_is_saved_as_a_picture_around_the_grid(tmp_path):
    grid = np.full((100, 640, 3), (255, 0, 255), dtype=np.uint8)
    demo_plots.save_comparison(tmp_path / "grid.png", grid, "toyface_val")
    saved = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    assert saved.shape[0] > 100
    assert saved.shape[1] == 640
    assert (saved[-90:-10, 10:-10] == (255, 0, 255)).all()
    assert (saved[:60] < 100).all(axis=2).any(), "a title in black above it"


def write_lines(path, records, tail=""):
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + tail)
    return path


def test_metrics_of_one_iteration_are_joined_and_the_later_count(tmp_path):
    path = write_lines(
        tmp_path / "metrics.json",
        [
            {"iteration": 19, "total_loss": 3.0},
            {"iteration": 39, "total_loss": 9.0},
            {"iteration": 39, "total_loss": 2.0},  # again after a resume
            {"iteration": 39, "bbox/AP50": 80.0},
        ],
        tail='{"iteration": 59, "tot',
    )
    assert demo_plots.read_metrics(path) == [
        {"iteration": 19, "total_loss": 3.0},
        {"iteration": 39, "total_loss": 2.0, "bbox/AP50": 80.0},
    ]


def test_damage_before_the_last_line_is_an_error(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"iteration": 0}\n{"itera\n{"iteration": 2}\n')
    with pytest.raises(ValueError, match="line 2"):
        demo_plots.read_metrics(path)


@pytest.mark.parametrize("with_metric", [False, True])
def test_a_plot_is_a_picture_that_depends_on_its_losses(tmp_path, with_metric):
    metric = {"bbox/AP50": 50.0} if with_metric else {}

    def plot(name, factor):
        records = [
            {"iteration": i, "total_loss": factor / (i + 1), "loss_cls_s2": 0.5 / (i + 1)}
            for i in range(5)
        ]
        demo_plots.plot_training(tmp_path / name, [*records[:-1], records[-1] | metric])
        return np.asarray(Image.open(tmp_path / name).convert("RGB"))

    falling, other = plot("a.png", 1.0), plot("b.png", 30.0)
    assert falling.shape == other.shape
    assert (falling != other).any()
