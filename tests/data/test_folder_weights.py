import numpy as np
import pytest

from srn_d2.data.build import folder_weights, systematic_sample

FILES = [f"a/{i}.jpg" for i in range(90)] + [f"b/{i}.jpg" for i in range(9)] + ["c/0.jpg"]


def shown(balance: float) -> dict[str, float]:
    """Times that an epoch shows each folder, on average."""
    weights = folder_weights(FILES, balance)
    folders = np.array([name[0] for name in FILES])
    return {name: weights[folders == name].sum() for name in "abc"}


def test_one_shows_all_folders_equally_often():
    assert shown(1.0) == pytest.approx(dict.fromkeys("abc", len(FILES) / 3))


@pytest.mark.parametrize("balance", [0.25, 0.5, 0.9])
def test_folders_are_shown_by_a_power_of_their_sizes(balance):
    by_folder = shown(balance)
    assert sum(by_folder.values()) == pytest.approx(len(FILES))
    assert by_folder["a"] / by_folder["b"] == pytest.approx(10 ** (1 - balance))
    assert by_folder["b"] / by_folder["c"] == pytest.approx(9 ** (1 - balance))


def test_zero_leaves_the_order_alone():
    assert folder_weights(FILES, 0.0) is None


@pytest.mark.parametrize("balance", [-0.1, 1.1, float("nan")])
def test_a_wrong_balance_names_its_key(balance):
    with pytest.raises(ValueError, match="FACE_FOLDER_BALANCE"):
        folder_weights(FILES, balance)


def test_each_item_is_drawn_its_weight_rounded_up_or_down():
    rng = np.random.default_rng(0)
    weights = rng.random(500) * 3
    weights *= len(weights) / weights.sum()
    for _ in range(20):
        drawn = np.bincount(systematic_sample(np.arange(500), weights, rng), minlength=500)
        assert drawn.sum() == 500
        assert np.all((drawn >= np.floor(weights)) & (drawn <= np.ceil(weights)))


def test_the_mean_of_many_samples_is_the_weight():
    rng = np.random.default_rng(1)
    weights = np.array([0.5, 0.25, 1.75, 1.5])
    draws = [
        np.bincount(systematic_sample(np.arange(4), weights, rng), minlength=4) for _ in range(4000)
    ]
    assert np.mean(draws, axis=0) == pytest.approx(weights, abs=0.05)
