"""Tables, differences and figures of an ablation, and the paper's figures beside."""

import dataclasses
import json
import math

import numpy as np
import pytest
from PIL import Image

from ablation import paper, tables
from ablation.report import FIGURES, to_json, to_markdown, write_report
from ablation.results import Difference
from ablation.rows import paper_rows


def cells(text, title):
    """Cells of the table's row that begins with a title."""
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()]
    [found] = [row[1:] for row in rows if row[0] == title]
    return found


def test_main_table_has_means_ranges_and_the_paper(results):
    text = tables.main_table(results, "all")
    found = cells(text, "STC")
    ap = list(results.ap("all", "stc", "easy", 0.5).values())
    assert len(ap) == 2
    assert found[0] == "2"
    assert found[1] == f"{np.mean(ap):.1f} ({min(ap):.1f} .. {max(ap):.1f})"
    assert found[-1] == "95.3 / 94.4 / 89.4"
    assert "STC on P2" not in text


def test_differences_are_paired_by_seed(results):
    own, baseline = (results.ap("all", row, "hard", 0.7) for row in ("str", "retinanet"))
    found = results.ap_difference("all", "str", "hard", 0.7)
    assert found.by_seed == pytest.approx({seed: own[seed] - baseline[seed] for seed in (0, 1)})
    assert found.mean == pytest.approx(np.mean(list(found.by_seed.values())))
    # Boxes with a sixth of the noise are tighter in every resample.
    assert 0 < found.low <= found.mean <= found.high
    zero = results.ap_difference("all", "str", "hard", 0.7, baseline="str")
    assert (zero.mean, zero.low, zero.high) == (0, 0, 0)


def test_a_seed_without_the_baseline_has_no_difference(results):
    measures = {key: x for key, x in results.measures.items() if key[1:] != ("retinanet", 1)}
    lone = dataclasses.replace(results, measures=measures)
    assert list(lone.ap_difference("all", "stc", "hard", 0.5).by_seed) == [0]
    measures = {key: x for key, x in measures.items() if key[1] != "retinanet"}
    assert (
        dataclasses.replace(results, measures=measures).ap_difference("all", "stc", "hard", 0.5)
        is None
    )


def test_change_of_false_positives_is_in_percent(results):
    own, baseline = (
        results.false_positives("all", row, "hard", 0.5) for row in ("stc", "retinanet")
    )
    found = results.false_positive_change("all", "stc", "hard", 0.5)
    for seed in (0, 1):
        assert found.by_seed[seed] == pytest.approx(100 * (own[seed] / baseline[seed] - 1))


def test_single_levels_stand_over_the_papers(results):
    text = tables.single_level_table(results, "all", "stc")
    assert cells(text, "Hard, paper") == ["88.0", "88.9", "88.7", "88.5", "87.8", "88.0", "87.7"]
    ours = cells(text, "Hard")
    assert ours[0] == tables.mean_and_range(results.ap("all", "retinanet", "hard", 0.5).values())
    assert ours[2:] == ["-"] * 5
    rows = tuple(row for row in results.rows if row.name != "str_p7")
    assert tables.single_level_table(dataclasses.replace(results, rows=rows), "all", "str") is None


def test_anchor_table(results):
    assert cells(tables.anchor_table(results), "STC") == [
        "22.0 : 339,700 (1 : 15,441)",
        "20.0 : 8,000 (1 : 400)",
        "22.0 : 8,895 (1 : 404)",
    ]
    assert tables.anchor_table(dataclasses.replace(results, anchors={})) is None


def test_signed_differences_without_0_are_bold():
    assert tables.signed(Difference({0: 0.5}, 0.5, 0.2, 0.8)) == "**+0.5 [+0.2, +0.8]**"
    assert tables.signed(Difference({0: -0.5}, -0.5, -0.8, 0.1)) == "-0.5 [-0.8, +0.1]"
    assert tables.signed(Difference({0: -12.3}, -12.3, -20, -2), " %") == "**-12 % [-20, -2]**"
    assert tables.signed(Difference({0: 0.5}, 0.5, math.nan, math.nan)) == "+0.5"
    assert tables.signed(None) == "-"


def test_report_files(results, tmp_path):
    paths = write_report(results, {"start": "start.pth"}, 50, tmp_path)
    assert {path.name for path in paths} == {"report.md", "report.json", *FIGURES}
    text = (tmp_path / "report.md").read_text()
    assert "- start: start.pth" in text
    assert "**Not done yet: stc_p3-seed0.**" in text
    assert "## Images: seen (6)" in text
    for name in FIGURES:
        assert f"({name})" in text
        with Image.open(tmp_path / name) as figure:
            assert figure.format == "PNG"
    stored = json.loads((tmp_path / "report.json").read_text())
    row = stored["lists"]["seen"]["rows"]["str"]
    hard = results.measures["seen", "str", 1].ap["hard"][0]
    assert row["seeds"]["1"]["ap"]["hard"] == pytest.approx(hard.tolist())
    points = row["differences"]["hard"]["ap_points"][2]
    assert points["mean"] == pytest.approx(results.ap_difference("seen", "str", "hard", 0.7).mean)
    assert stored["anchors"]["stc"]["0"]["negatives_after_stc"] == 8000


def test_a_report_of_one_row_has_no_differences(results):
    rows = (paper_rows()["retinanet"],)
    measures = {key: x for key, x in results.measures.items() if key[1] == "retinanet"}
    alone = dataclasses.replace(results, rows=rows, measures=measures, anchors={}, missing=())
    text = to_markdown(alone, {}, 50, {})
    assert "### Differences" not in text
    assert "Not done" not in text
    assert to_json(alone, {})["lists"]["all"]["rows"]["retinanet"]["differences"] == {}
    assert all(plot(alone, "all") is None for plot, _ in FIGURES.values())


def test_paper_figures_are_those_of_the_reference(shared_dir):
    text = (shared_dir / "reference" / "paper_results.md").read_text()

    def written(values, separator=" / "):
        return separator.join(f"{value:.1f}" for value in values)

    for name in ("retinanet", "stc", "str", "stc_str", "srn"):
        assert written(paper.AP[name]) in text, name
    for step in ("stc", "str"):
        names = ["retinanet", *(f"{step}_p{level}" for level in range(2, 8))]
        for index, setting in enumerate(paper.SETTINGS):
            line = written([paper.AP[name][index] for name in names], " | ")
            assert f"| {setting.title()} | {line} |" in text
    for values in paper.AP_BY_IOU.values():
        assert written(values) in text
    for values in paper.FALSE_POSITIVES.values():
        assert " / ".join(map(str, values)) in text
    for positives, negatives in paper.ANCHORS.values():
        assert f"{positives} / {negatives:,}" in text
