"""Runs of a tiny network, and measures of made-up predictions."""

import numpy as np
import pytest

from ablation.measures import measure_predictions
from ablation.results import Results
from ablation.rows import paper_rows
from ablation.runs import Plan, Run
from helpers.wider_face_mat import make_ground_truth
from image_lists import ALL_IMAGES, ImageList
from srn_d2.evaluation.anchor_counts import AnchorCounts
from srn_d2.evaluation.widerface.bootstrap import draw_resamples

NUM_IMAGES = 10


@pytest.fixture
def make_run(tmp_path):
    """``make_run("stc", seed=1, iterations=20)``: a run whose folder is below ``tmp_path``."""

    def make(row="retinanet", seed=0, **changes):
        plan = {
            "config_file": "srn_R18.yaml",
            "opts": ("MODEL.DEVICE", "cpu"),
            "iterations": None,
            "num_gpus": 1,
            "eval_opts": (),
            "num_anchor_images": 0,
            "start_weights": {},
            "output": tmp_path,
        }
        return Run(Plan(**(plan | changes)), paper_rows()[row], seed)

    return make


@pytest.fixture(scope="session")
def scene():
    """Ground truth of some images, and ``predict(rng, noise)``: predictions near its faces."""
    rng = np.random.default_rng(0)
    boxes = {}
    for index in range(NUM_IMAGES):
        sides = np.where(rng.random((6, 1)) < 0.5, 20, 90)
        boxes[f"event/{index}"] = np.hstack([rng.integers(0, 300, (6, 2)), sides, sides]).tolist()
    easy = {f"event/{index}": [1, 2] for index in range(NUM_IMAGES)}
    truth = make_ground_truth(boxes, {"easy": easy})

    def predict(rng, noise):
        predictions = {}
        for image_id, faces in truth.boxes.items():
            near = faces + rng.normal(0, noise, faces.shape)
            false = np.hstack([rng.uniform(0, 300, (8, 2)), rng.uniform(10, 120, (8, 2))])
            scores = np.concatenate([rng.uniform(0.3, 1, 6), rng.uniform(0, 0.8, 8)])
            predictions[image_id] = np.column_stack([np.vstack([near, false]), scores])
        return predictions

    return truth, predict


@pytest.fixture(scope="session")
def results(scene):
    """Results of seven rows and two seeds; STC has fewer false positives, STR tighter boxes."""
    truth, predict = scene
    lists = (ImageList(ALL_IMAGES, truth.image_ids), ImageList("seen", truth.image_ids[:6]))
    names = ("retinanet", "stc", "str", "stc_str", "srn", "stc_p2", "str_p7")
    measures = {}
    for seed in (0, 1):
        for number, name in enumerate(names):
            predictions = predict(np.random.default_rng(seed), 1 if "str" in name else 6)
            if "stc" in name:
                predictions = {i: x[x[:, 4] > 0.3] for i, x in predictions.items()}
            for found in predictions.values():
                found[:, 4] += number * 1e-4
            for images in lists:
                counts = draw_resamples(len(images.image_ids), 20)
                measures[images.name, name, seed] = measure_predictions(
                    predictions, images, truth, counts
                )
    counted = {("stc", seed): AnchorCounts(4, 22.0, 339700.0, 20.0, 8000.0) for seed in (0, 1)}
    return Results(
        rows=tuple(paper_rows()[name] for name in names),
        seeds=(0, 1),
        settings=("easy", "medium", "hard"),
        lists=lists,
        measures=measures,
        anchors=counted,
        missing=("stc_p3-seed0",),
    )
