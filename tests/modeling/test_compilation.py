"""torch.compile of the network: the same predictions, few compilations, and going on without."""

import logging
import shutil

import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from srn_d2.modeling import compilation
from srn_d2.modeling.compilation import compile_network

SIZES = ((1, 64, 96), (1, 128, 64))
"""Batch, height and width, pixels."""

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="torch.compile needs a C++ compiler on a CPU",
)


class Counter:
    """A backend of torch.compile that compiles nothing but counts how often it is asked to."""

    def __init__(self):
        self.graphs = 0

    def __call__(self, graph, example_inputs):
        self.graphs += 1
        return graph.forward


@pytest.fixture(autouse=True)
def _forget_what_is_compiled():
    yield
    torch.compiler.reset()


@pytest.fixture
def small_is_large(monkeypatch):
    """Small images, and their maps of P2 and P3, are compiled as well."""
    monkeypatch.setattr(compilation, "SMALL_IMAGE", 0)
    monkeypatch.setattr(compilation, "SMALL_MAP", 8 * 8)


def make_model(cfg) -> nn.Module:
    torch.manual_seed(0)
    return build_model(cfg).eval()


def images(*size: int) -> torch.Tensor:
    batch, height, width = size
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def outputs(model, x: torch.Tensor) -> list[torch.Tensor]:
    """All maps of the pyramid and all predictions."""
    maps = model.backbone(x)
    predictions = model.head([maps[name] for name in model.head_in_features])
    levels = [x for levels in predictions for x in levels if x is not None]
    return [*maps.values(), *levels]


def assert_equal(model, expected_of) -> None:
    for size, expected in expected_of.items():
        for computed, value in zip(outputs(model, images(*size)), expected, strict=True):
            scale = value.abs().max().clamp(min=1)
            torch.testing.assert_close(computed / scale, value / scale, rtol=0, atol=1e-4)


@needs_compiler
@pytest.mark.usefixtures("small_is_large")
def test_compiled_predictions_are_those_of_the_model(small_cfg):
    model = make_model(small_cfg())
    names = list(model.state_dict())
    expected = {size: outputs(model, images(*size)) for size in SIZES}
    compile_network(model)
    assert_equal(model, expected)
    assert list(model.state_dict()) == names


def test_many_sizes_need_two_compilations(small_cfg):
    """Of the real size, so that small maps do not take other convolutions."""
    model, backend = make_model(small_cfg("MODEL.FPN.OUT_CHANNELS", 64)), Counter()
    sizes = (1, 384, 416), (1, 416, 384), (1, 448, 448), (1, 512, 320), (2, 288, 320), (3, 256, 256)
    compile_network(model, backend=backend)
    for number, size in enumerate(sizes):
        maps = model.backbone.bottom_up(images(*size))
        assert maps["res2"].shape == (size[0], 64, size[1] // 4, size[2] // 4)
        model.head.scores(torch.zeros(size[0], 64, size[1] // 4, size[2] // 4))
        assert backend.graphs == (2 if number < 4 else 4)  # once more for batches


def test_small_images_and_odd_sizes_see_the_model_as_it_is(small_cfg, monkeypatch):
    model, backend = make_model(small_cfg("MODEL.SRN.SIZE_DIVISIBILITY", 1)), Counter()
    monkeypatch.setattr(compilation, "SMALL_IMAGE", 64 * 96)
    monkeypatch.setattr(compilation, "SMALL_MAP", 10**6)
    sizes = ((1, 64, 95), (1, 64, 64), (2, 101, 75))
    expected = {size: outputs(model, images(*size)) for size in sizes}
    compile_network(model, backend=backend)
    assert_equal(model, expected)
    assert backend.graphs == 0
    model.backbone.bottom_up(images(1, 64, 96))
    assert backend.graphs == 1


def broken(graph, example_inputs):
    raise OSError("there is no compiler")


@pytest.mark.usefixtures("small_is_large")
def test_where_compiling_fails_a_warning_says_so_once(small_cfg, caplog):
    model = make_model(small_cfg())
    expected = {size: outputs(model, images(*size)) for size in SIZES[:2]}
    compile_network(model, backend=broken)
    with caplog.at_level(logging.WARNING, logger=compilation.__name__):
        assert_equal(model, expected)
    [record] = caplog.records
    assert "not compiled (TEST.COMPILE)" in record.message
    assert "there is no compiler" in record.message


@pytest.mark.usefixtures("small_is_large")
def test_without_a_cpp_compiler(small_cfg, caplog, monkeypatch, tmp_path):
    """What torch itself raises then."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing is compiled already
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    model = make_model(small_cfg())
    expected = {SIZES[0]: outputs(model, images(*SIZES[0]))}
    compile_network(model)
    with caplog.at_level(logging.WARNING, logger=compilation.__name__):
        assert_equal(model, expected)
    assert len(caplog.records) == 1


@pytest.mark.usefixtures("small_is_large")
def test_errors_of_the_compiled_code_are_raised(small_cfg):
    def out_of_memory(graph, example_inputs):
        def run(*args):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

        return run

    model = make_model(small_cfg())
    compile_network(model, backend=out_of_memory)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        outputs(model, images(*SIZES[0]))


@pytest.mark.usefixtures("small_is_large")
def test_sizes_beyond_the_most_compilations_see_the_model_as_it_is(small_cfg, monkeypatch):
    monkeypatch.setattr(compilation, "MAX_COMPILATIONS", 1)
    model, backend = make_model(small_cfg()), Counter()
    sizes = (1, 64, 96), (2, 64, 96)  # a batch needs a second one
    expected = {size: outputs(model, images(*size)) for size in sizes}
    compile_network(model, backend=backend)
    assert_equal(model, {sizes[0]: expected[sizes[0]]})
    before = backend.graphs
    assert_equal(model, expected)
    assert backend.graphs == before
