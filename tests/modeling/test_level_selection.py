import pytest

from srn_d2.modeling import LEVELS, LevelSelection


def test_paper_selection_uses_every_bottom_up_map_once():
    selection = LevelSelection()
    assert selection.first_step_features == ("c2", "c3", "c4", "c5", "c6", "c7")
    assert selection.features == (*selection.first_step_features, *LEVELS)


def test_no_level_takes_a_first_step_in_the_baseline():
    selection = LevelSelection([], [])
    assert selection.first_step_levels == ()
    assert selection.features == LEVELS


def test_a_level_may_take_both_steps():
    selection = LevelSelection(["p4"], ["p4"])
    assert selection.first_step_features == ("c4",)
    assert selection.has_stc("p4")
    assert selection.has_str("p4")
    assert not selection.has_stc("p5")


def test_order_and_repetition_do_not_matter():
    assert LevelSelection(["p4", "p2", "p4"], []) == LevelSelection(["p2", "p4"], [])


@pytest.mark.parametrize(
    ("stc", "str_", "key"),
    [(["p8"], [], "MODEL.SRN.STC_LEVELS"), ([], ["c3"], "MODEL.SRN.STR_LEVELS")],
)
def test_unknown_level_names_key_and_valid_levels(stc, str_, key):
    with pytest.raises(ValueError, match=key) as error:
        LevelSelection(stc, str_)
    assert all(level in str(error.value) for level in LEVELS)
