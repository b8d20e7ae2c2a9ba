"""Values, keys and files as people write them: right, or one sentence that names the key."""

import re

import pytest

from srn_d2.config import ConfigValueError, build_cfg


def value_of(cfg, key):
    for name in key.split("."):
        cfg = cfg[name]
    return cfg


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("SOLVER.BASE_LR", "1", 1.0),
        ("SOLVER.MAX_ITER", "1e4", 10_000),
        ("SOLVER.MAX_ITER", "20.0", 20),
        ("OUTPUT_DIR", "2026", "2026"),
        ("OUTPUT_DIR", "None", "None"),
        ("DATASETS.TRAIN", "['a', 'b']", ("a", "b")),
        ("DATASETS.TEST", "()", ()),
        ("MODEL.SRN.STC_LEVELS", "('p2',)", ["p2"]),
        ("INPUT.FACE_PATCH_SCALES", "(1, 1)", (1, 1)),
        ("SOLVER.WEIGHT_DECAY_BIAS", "0.1", 0.1),
        ("SOLVER.WEIGHT_DECAY_BIAS", "None", None),
        ("SOLVER.CPU_BFLOAT16", "auto", "auto"),
    ],
)
def test_values_whose_meaning_is_clear(tmp_path, key, text, expected):
    section, _, name = key.rpartition(".")
    value = f'"{text}"' if text.startswith(("[", "(")) else text
    nested = "".join(f"{'  ' * i}{part}:\n" for i, part in enumerate(section.split(".")) if part)
    indent = "  " * len([part for part in section.split(".") if part])
    file = tmp_path / "mine.yaml"
    file.write_text(f"{nested}{indent}{name}: {value}\n")
    for cfg in (build_cfg(opts=[key, text]), build_cfg(str(file))):
        found = value_of(cfg, key)
        assert found == expected
        assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["DATASETS.TRAIN", "mine"], r"DATASETS\.TRAIN is 'mine'.* \"\('mine',\)\""),
        (["DATASETS.TRAIN", "(mine)"], r"\"\('mine',\)\""),
        (["DATASETS.TEST", "('a' 'b')"], r"DATASETS\.TEST"),
        (["DATASETS.TEST", "a,b"], r"\"\('a', 'b'\)\""),
        (["MODEL.SRN.STC_LEVELS", "p2"], r"\"\['p2'\]\""),
        (["MODEL.SRN.RFE", "false"], r"RFE is 'false': it must be True or False"),
        (["MODEL.SRN.RFE", "0"], "must be True or False"),
        (["SOLVER.MAX_ITER", "20.5"], "must be a whole number"),
        (["SOLVER.MAX_ITER", "None"], "must be a whole number, such as"),
        (["SOLVER.MAX_ITER", "True"], "must be a whole number"),
        (["SOLVER.BASE_LR", "1e-3x"], "must be a number"),
        (["SOLVER.STEPS", "('a',)"], r"SOLVER\.STEPS .*numbers"),
        (["MODEL.SRN.STC_LEVELS", "[2]"], r"texts, such as \['p2'"),
        (["SOLVER", "3"], r"SOLVER is a section.*SOLVER\."),
        (["MODEL.SRN", "{'RFE': True}"], r"MODEL\.SRN is a section"),
    ],
)
def test_values_of_a_wrong_type_name_the_key_and_the_mend(opts, message):
    with pytest.raises(ConfigValueError, match=message) as error:
        build_cfg(opts=opts)
    assert str(error.value).startswith("command line: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["SEED", "1", "--resume"], "the flag --resume .* before the first of them, SEED"),
        (["SEED", "--num-gpus", "2"], "the flag --num-gpus"),
        (["SOLVER.MAX_ITER=3"], r"write SOLVER\.MAX_ITER 3 instead of SOLVER\.MAX_ITER=3"),
        (["SEED", "1", "OUTPUT_DIR"], "OUTPUT_DIR has no value"),
        (["OUTPUT_DIR", "my", "folder"], "folder is no key"),
    ],
)
def test_pairs_with_a_flag_or_without_a_value_are_named(opts, message):
    with pytest.raises(ValueError, match=f"^command line: .*{message}"):
        build_cfg(opts=opts)


def test_negative_numbers_are_no_flags():
    assert build_cfg(opts=["SEED", "-1", "SOLVER.WEIGHT_DECAY_BIAS", "-1e-3"]).SEED == -1


@pytest.mark.parametrize(
    ("key", "close"),
    [
        ("MAX_ITER", "SOLVER.MAX_ITER"),
        ("SOLVER.MAX_ITERS", "SOLVER.MAX_ITER"),
        ("solver.base_lr", "SOLVER.BASE_LR"),
        ("SOLVER.BASE_LR.x", "SOLVER.BASE_LR"),
    ],
)
def test_unknown_keys_name_the_closest(key, close):
    with pytest.raises(KeyError, match=re.escape(f"there is no key {key}; did you mean {close}")):
        build_cfg(opts=[key, "1"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no keys"),
        (b"- SOLVER\n", "has no keys"),
        (b"just words\n", "has no keys"),
        (b"\x80\x02}q\x00.\xff", "not text|no valid YAML"),
        (b"SOLVER:\n\tMAX_ITER: 3\n", "no valid YAML"),
        (b"SOLVER:\n  MAX_ITER: 3\nSEED: 1\nSOLVER:\n  BASE_LR: 1\n", "SOLVER .*lines 1 and 4"),
        (b"SOLVER:\n  MAX_ITER: 3\n  MAX_ITER: 4\n", r"SOLVER\.MAX_ITER .*lines 2 and 3"),
        (b"SOLVER:\nSEED: 1\n", "SOLVER is a section"),
        (b"_BASE_: mine.yaml\n", "leads back to itself"),
        (b"DATASETS:\n  TRAIN: mine\n", r"DATASETS\.TRAIN is 'mine'"),
        (b"VERSION: 9\n", "v9 config"),
    ],
)
def test_files_that_are_no_config_are_named(tmp_path, content, message):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=f"mine.yaml.*({message})") as error:
        build_cfg(str(file))
    assert "\n" not in str(error.value)


def test_a_fault_in_a_base_names_the_base(tmp_path):
    (tmp_path / "base.yaml").write_text("- 1\n")
    (tmp_path / "mine.yaml").write_text("_BASE_: base.yaml\nSEED: 1\n")
    with pytest.raises(ValueError, match=r"base\.yaml has no keys"):
        build_cfg(str(tmp_path / "mine.yaml"))


def test_none_replaces_auto(tmp_path):
    file = tmp_path / "auto.yaml"
    file.write_text("SOLVER:\n  CPU_BFLOAT16: auto\n")
    cfg = build_cfg(str(file))
    cfg.merge_from_list(["SOLVER.CPU_BFLOAT16", "None"])
    assert cfg.SOLVER.CPU_BFLOAT16 is None
    assert build_cfg(str(file), ["SOLVER.CPU_BFLOAT16", "None"]).SOLVER.CPU_BFLOAT16 is False
    (tmp_path / "none.yaml").write_text("_BASE_: auto.yaml\nSOLVER:\n  CPU_BFLOAT16: null\n")
    assert build_cfg(str(tmp_path / "none.yaml")).SOLVER.CPU_BFLOAT16 is False


@pytest.mark.parametrize("device", ["gpu", "0", "cuda:x", "CPU", "cuda:-1", "tpu", ""])
def test_devices_that_are_none_name_the_valid_ones(device):
    from srn_d2.config import check_device

    cfg = build_cfg()
    cfg.MODEL.DEVICE = device
    with pytest.raises(ValueError, match=r"MODEL\.DEVICE is .*valid are 'cpu', 'cuda', .* 'mps'"):
        check_device(cfg)
