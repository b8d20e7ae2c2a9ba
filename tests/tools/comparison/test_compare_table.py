"""detectors.toml and tables like it."""

import re

import pytest

from comparison.table import SHIPPED_TABLE, TableError, choose, load_tables

GOOD = """
[environments.some]
requirements = ["a==1"]
[detectors.mine]
title = "Mine"
settings = "as they are"
worker = "run.py"
environment = "some"
options = { threshold = 0.5 }
"""


@pytest.fixture
def table(tmp_path):
    def write(text, name="table.toml"):
        (tmp_path / "run.py").touch()
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_shipped_table():
    detectors = load_tables(SHIPPED_TABLE)
    usual = [detector.name for detector in choose(detectors, None)]
    assert usual[0] == "lite"
    assert {"centerface", "retinaface", "libfacedetection", "mtcnn"} < set(usual)
    assert "lite-multi-scale" in detectors.keys() - set(usual)
    for detector in detectors.values():
        pins = detector.environment.requirements if detector.environment else ()
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins), detector.name
    # The detectors that run at two scales: the factor of the tables is that of the options.
    larger = {name for name in usual if detectors[name].image_scale != 1}
    assert larger == {"lite-larger", "centerface-larger", "retinaface-larger"}
    for detector in (detectors[name] for name in larger):
        base = detectors[detector.name.removesuffix("-larger")]
        assert (detector.title, detector.image_scale, base.image_scale) == (base.title, 1.5, 1)
        options = [detector.options, detector.latency_options]
        assert {x.get("scale", round(8 / x.get("min_face_size", 8), 3)) for x in options} == {1.5}
    # Weights of this project are no package's: they have to be named.
    files = [path.name for path in detectors["lite"].files]
    assert {"lite.pth", "lite.yaml", "config", "inference", "modeling", "data"} <= set(files)


def test_a_further_table(table, tmp_path):
    detectors = load_tables(SHIPPED_TABLE, table(GOOD))
    mine = detectors["mine"]
    assert mine.worker == tmp_path / "run.py"
    assert mine.environment.requirements == ("a==1",)
    assert mine.options == {"threshold": 0.5}
    [chosen] = choose(detectors, ["mine"])
    assert chosen is mine


def test_a_detector_that_is_like_another(table, tmp_path):
    path = table(
        GOOD + '[detectors.other]\nlike = "mine"\ntitle = "Other"\noptions = { threshold = 0.1 }\n'
    )
    mine, other = load_tables(path).values()
    assert (other.title, other.options) == ("Other", {"threshold": 0.1})
    for same in ("settings", "worker", "environment"):
        assert getattr(other, same) == getattr(mine, same)


@pytest.mark.parametrize("base", ['"none"', '"mine"', "3"])
def test_a_detector_that_is_like_none(table, base):
    path = table(GOOD + f"like = {base}\n")
    with pytest.raises(TableError, match=r"detectors\.mine\.like: .* is no detector of this table"):
        load_tables(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "Mine"\n', "", "detectors.mine.title: is missing"),
        ("title", "titel", "mine.title: is missing; detectors.mine.titel: unknown key"),
        ("[detectors.mine]", "[detectors.mine]\nspeed = 1", "detectors.mine.speed: unknown key"),
        ('"Mine"', "3", "detectors.mine.title: .* valid string, not 3"),
        ('["a==1"]', "[1]", "environments.some.requirements.0: .* valid string, not 1"),
        ('["a==1"]', "[]", "environments.some.requirements: .* at least 1 item"),
        ('"run.py"', '"."', "detectors.mine.worker: .* is no file"),
        ("[detectors.mine]", "[detectors.mine]\noptional = 1", "mine.optional: .* boolean, not 1"),
        ("[detectors.mine]", "[detectors.mine]\nscale = 0", "mine.scale: .* greater than 0, not 0"),
        (
            "[detectors.mine]",
            '[detectors.mine]\nfiles = ["a.pth"]',
            "mine.files.0: .*a.pth is not there",
        ),
        ('"run.py"', '"walk.py"', "detectors.mine.worker: .*walk.py is not there"),
        ('environment = "some"', 'environment = "other"', r"no \[environments.other\]"),
        ("[detectors.mine]", '[detectors."../mine"]', "detectors.../mine.name: a name has letters"),
        ("[environments.some]", "[environment.some]", "environment: unknown key"),
        ("[environments.some]\n", "environments = 3\n", "environments: .* valid dictionary, not 3"),
        ('title = "Mine"', "title = ", "no TOML: .*line 5"),
    ],
)
def test_damaged_tables(table, old, new, message):
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if new.startswith("environments ="):
        text = text.replace('requirements = ["a==1"]', "")
    path = table(text)
    with pytest.raises(TableError, match=message) as error:
        load_tables(path)
    assert str(error.value).startswith(str(path))


def test_names_that_are_taken_or_unknown(table, tmp_path):
    path = table(GOOD)
    with pytest.raises(TableError, match=r"environments\.some: there is one of this name already"):
        load_tables(path, path)
    with pytest.raises(FileNotFoundError, match=r"No table of detectors: .*none\.toml"):
        load_tables(tmp_path / "none.toml")
    detectors = load_tables(path)
    with pytest.raises(ValueError, match="No detector 'yours'; there are mine"):
        choose(detectors, ["yours"])
    with pytest.raises(ValueError, match="named twice"):
        choose(detectors, ["mine", "mine"])
