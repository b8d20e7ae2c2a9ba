"""What a processor has for bfloat16, what "auto" makes of it, and the warning where it is slow."""

import logging

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model

from srn_d2 import add_srn_config, bfloat16
from srn_d2.config import build_cfg

AMX = "processor\t: 0\nflags\t\t: fpu amx_bf16 avx512_bf16 avx_ne_convert sse\n"
AVX512 = "flags\t\t: fpu avx512f avx512_bf16\n"
AVX2 = "flags\t\t: fpu avx2 avx512f avx512bw\n"
NE_CONVERT = "flags\t\t: fpu avx2 avx_ne_convert\n"
ARM = "Features\t: fp asimd bf16 i8mm\n"


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)


@pytest.fixture
def processor(monkeypatch):
    """Pretend to run on another one: ``processor(cpuinfo)``."""

    def pretend(cpuinfo):
        monkeypatch.setattr(bfloat16, "read_cpuinfo", lambda: cpuinfo)
        bfloat16.warn_if_emulated.cache_clear()

    yield pretend
    bfloat16.warn_if_emulated.cache_clear()


@pytest.mark.parametrize(
    ("cpuinfo", "limit", "units"),
    [
        (AMX, "", ["AMX", "AVX512_BF16", "AVX-NE-CONVERT"]),
        (AMX, "DEFAULT", ["AMX", "AVX512_BF16", "AVX-NE-CONVERT"]),
        (AMX, "AVX512_CORE_AMX", ["AMX", "AVX512_BF16", "AVX-NE-CONVERT"]),
        (AMX, "AVX512_CORE_BF16", ["AVX512_BF16", "AVX-NE-CONVERT"]),
        (AMX, "avx2_vnni_2", ["AVX-NE-CONVERT"]),
        (AMX, "AVX512_CORE", []),
        (AMX, "AVX2", []),
        (AMX, "SSE41", []),
        (ARM, "", ["Arm BF16"]),
        (AVX2, "", []),
        ("model name\t: avx512_bf16 in the wrong place\n", "", []),
        ("", "", []),
        (None, "", []),
    ],
)
def test_units_are_read_from_the_flags_and_limited_as_onednn_is(cpuinfo, limit, units):
    assert bfloat16.cpu_units(cpuinfo, {"ONEDNN_MAX_CPU_ISA": limit}) == units
    assert bfloat16.cpu_units(cpuinfo, {"DNNL_MAX_CPU_ISA": limit}) == units


@pytest.mark.parametrize(
    ("cpuinfo", "is_fast", "reason"),
    [
        (AMX, True, "AMX"),
        (AVX512, True, "AVX512_BF16"),
        (NE_CONVERT, False, "neither AMX nor AVX512_BF16"),
        (AVX2, False, "neither AMX nor AVX512_BF16"),
        (None, False, "cannot be told"),
    ],
)
def test_auto_is_bfloat16_where_it_is_fast_and_says_why(processor, cpuinfo, is_fast, reason):
    processor(cpuinfo)
    assert bfloat16.resolve_cpu_bfloat16("auto") is is_fast
    assert bfloat16.explain_auto().startswith("bfloat16" if is_fast else "float32")
    assert reason in bfloat16.explain_auto()
    # Whoever says what they want gets it.
    assert bfloat16.resolve_cpu_bfloat16(True) is True
    assert bfloat16.resolve_cpu_bfloat16(False) is False
    assert bfloat16.resolve_cpu_bfloat16(None) is False


@pytest.mark.parametrize("config", ["srn_toy.yaml", "srn_R18.yaml", "srn_efflite0.yaml"])
def test_configs_that_train_on_a_cpu_choose_by_the_processor(repo_root, processor, config):
    path = str(repo_root / "configs" / config)
    cfg = build_cfg(path)
    assert cfg.SOLVER.CPU_BFLOAT16 == "auto"
    assert cfg.MODEL.DEVICE == "cpu"
    for cpuinfo, is_fast in ((AMX, True), (AVX2, False)):
        processor(cpuinfo)
        assert build_model(cfg).cpu_bfloat16 is is_fast
    for setting in (True, False, "auto"):
        assert setting == build_cfg(path, ["SOLVER.CPU_BFLOAT16", str(setting)]).SOLVER.CPU_BFLOAT16


@pytest.mark.parametrize("first", ["auto", True, False])
@pytest.mark.parametrize("second", ["auto", True, False])
def test_any_value_replaces_any_other(tmp_path, first, second):
    file = tmp_path / "old.yaml"
    file.write_text(f"SOLVER:\n  CPU_BFLOAT16: {first}\n")
    by_detectron2 = get_cfg()
    add_srn_config(by_detectron2)
    by_detectron2.merge_from_file(str(file))  # as code does that does not know build_cfg
    cfg = build_cfg(str(file))
    assert cfg.SOLVER.CPU_BFLOAT16 == by_detectron2.SOLVER.CPU_BFLOAT16 == first
    cfg.merge_from_list(["SEED", 3])
    assert first == cfg.SOLVER.CPU_BFLOAT16
    cfg.merge_from_list(["SOLVER.CPU_BFLOAT16", str(second)])
    assert second == cfg.SOLVER.CPU_BFLOAT16
    cfg.merge_from_file(str(file))
    assert first == cfg.SOLVER.CPU_BFLOAT16
    saved = tmp_path / "config.yaml"  # as a run writes it
    saved.write_text(cfg.dump())
    assert build_cfg(str(saved)).SOLVER == cfg.SOLVER


def test_other_values_are_refused():
    assert build_cfg().SOLVER.CPU_BFLOAT16 is False
    with pytest.raises(ValueError, match=r"SOLVER\.CPU_BFLOAT16 is 'fast'; valid are 'auto'"):
        build_cfg(opts=["SOLVER.CPU_BFLOAT16", "fast"])


@pytest.mark.parametrize(
    ("cpuinfo", "opts", "warns"),
    [
        (AVX2, ("SOLVER.CPU_BFLOAT16", True), True),
        (AVX2, ("TEST.BFLOAT16", True), True),
        (AVX2, ("SOLVER.CPU_BFLOAT16", "auto"), False),
        (NE_CONVERT, ("TEST.BFLOAT16", True), False),
        (AMX, ("TEST.BFLOAT16", True), False),
        (None, ("TEST.BFLOAT16", True), False),
    ],
)
def test_a_model_in_emulated_bfloat16_warns_once(
    small_cfg, processor, caplog, monkeypatch, cpuinfo, opts, warns
):
    monkeypatch.setattr(logging.getLogger("srn_d2"), "propagate", True)
    processor(cpuinfo)
    for _ in range(2):
        build_model(small_cfg(*opts))
    messages = [record for record in caplog.records if "emulated on this CPU" in record.message]
    assert len(messages) == warns


def test_a_gpu_that_emulates_bfloat16_is_named(processor, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("srn_d2"), "propagate", True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    processor(AMX)
    bfloat16.warn_if_emulated("cuda")
    assert "emulated on this GPU" in caplog.text
