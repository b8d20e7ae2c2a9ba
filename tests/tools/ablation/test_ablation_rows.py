"""Rows of an ablation: those of the paper, and defined ones."""

import pytest

from ablation.rows import choose_rows, paper_rows
from srn_d2.config import build_cfg
from srn_d2.modeling.level_selection import LevelSelection


def test_rows_are_the_configs_of_the_ablation(repo_root):
    files = sorted((repo_root / "configs" / "ablation").glob("*.yaml"))
    rows = paper_rows()
    assert [path.stem for path in files] == sorted(rows)
    for path in files:
        expected = build_cfg(str(path)).MODEL.SRN
        own = build_cfg(str(repo_root / "configs" / "srn_R50.yaml"), list(rows[path.stem].opts))
        assert expected == own.MODEL.SRN, path.name


def test_rows_are_over_any_base():
    cfg = build_cfg("srn_efflite0.yaml", list(paper_rows()["srn"].opts))
    assert LevelSelection(cfg.MODEL.SRN.STC_LEVELS, cfg.MODEL.SRN.STR_LEVELS) == LevelSelection()
    assert cfg.MODEL.SRN.RFE is True


def test_a_defined_row_has_the_keys_of_its_row_and_its_own():
    definitions = [
        "light=stc MODEL.SRN.FIRST_STEP_LOSS_WEIGHT 0.2 MODEL.SRN.STC_LEVELS '[\"p2\"]'",
        "lighter=light MODEL.SRN.FIRST_STEP_LOSS_WEIGHT 0.1",
    ]
    stc, light, lighter = choose_rows(["stc", "light", "lighter"], definitions)
    srn = build_cfg("srn_efflite0.yaml", list(lighter.opts)).MODEL.SRN
    assert (srn.STC_LEVELS, srn.STR_LEVELS, srn.RFE) == (["p2"], [], False)
    assert srn.FIRST_STEP_LOSS_WEIGHT == 0.1
    assert light.opts[: len(stc.opts)] == stc.opts
    assert lighter.title == (
        'STC, MODEL.SRN.FIRST_STEP_LOSS_WEIGHT 0.2 MODEL.SRN.STC_LEVELS ["p2"], '
        "MODEL.SRN.FIRST_STEP_LOSS_WEIGHT 0.1"
    )


@pytest.mark.parametrize(
    ("names", "definitions", "message"),
    [
        (["stc", "stp"], [], "there is no row 'stp'; there are: retinanet, stc"),
        (["stc", "stc"], [], "the row 'stc' is given twice"),
        (["a"], ["a"], 'expected "NAME=ROW KEY VALUE'),
        (["a"], ["a=stc"], 'expected "NAME=ROW KEY VALUE'),
        (["a"], ["a=stc SOLVER.BASE_LR"], 'expected "NAME=ROW KEY VALUE'),
        (["a"], ["../a=stc SOLVER.BASE_LR 1"], 'expected "NAME=ROW KEY VALUE'),
        (["a"], ["a=b SOLVER.BASE_LR 1"], "there is no row 'b'"),
        (["stc"], ["stc=str SOLVER.BASE_LR 1"], "there is a row 'stc' already"),
        (["a"], ["a=stc 'SOLVER.BASE_LR 1"], "is malformed"),
    ],
)
def test_wrong_rows_are_named(names, definitions, message):
    with pytest.raises(ValueError, match=r".") as error:
        choose_rows(names, definitions)
    assert message in str(error.value)
