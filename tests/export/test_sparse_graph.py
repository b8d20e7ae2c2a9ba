"""Graphs whose second step is computed around surviving anchors only."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.onnx_graphs import second_steps_of
from srn_d2.export import sparse_graph
from srn_d2.export.onnx_export import export_onnx
from srn_d2.export.sparse_graph import DenseHead
from srn_d2.export.sparse_head import SparseHead, can_be_sparse
from srn_d2.model_files import find_shipped_model
from srn_d2.modeling.level_selection import LevelSelection
from srn_d2.modeling.srn_head import SRNHead, SRNPredictions

ALWAYS, NEVER = 2.0, -1.0  # values of MAX_SHARE
EXPORTED_SHARE = 0.12345


def make_head(convolution="plain", *, use_rfe=False):
    torch.manual_seed(0)
    selection = LevelSelection(["p2"], [])
    return SRNHead(
        channels=8,
        num_anchors=2,
        level_selection=selection,
        use_rfe=use_rfe,
        convolution=convolution,
    ).eval()


@given(
    convolution=st.sampled_from(["plain", "separable"]),
    is_unfinished=st.booleans(),
    size=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_at_the_survivors_it_is_the_dense_head(convolution, is_unfinished, size, share, seed):
    head = make_head(convolution)
    output = nn.Conv2d(8, 8, 3, padding=1) if is_unfinished else None
    generator = torch.Generator().manual_seed(seed)
    number, height, width = size
    x = torch.randn(number, 8, height, width, generator=generator)
    survivors = torch.rand(size, generator=generator) < share
    rows = x.permute(0, 2, 3, 1)
    scores, deltas = SparseHead(head, output)(rows, survivors[:, None].float())
    dense_scores, dense_deltas = DenseHead(head, output)(rows)
    is_kept = survivors.flatten(1).repeat_interleave(2, dim=1)  # by anchors
    torch.testing.assert_close(scores, dense_scores * is_kept, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(deltas, dense_deltas * is_kept[..., None], atol=1e-5, rtol=1e-5)
    finished = x if output is None else output(x)
    expected = SRNPredictions([], [], [head.scores(finished)], [head.deltas(finished)]).flatten()
    torch.testing.assert_close(dense_scores, expected.scores_s2[0])
    torch.testing.assert_close(dense_deltas, expected.deltas_s2[0])


def test_a_head_with_rfe_cannot_be_sparse():
    assert can_be_sparse(make_head())
    assert can_be_sparse(make_head("separable"))
    assert not can_be_sparse(make_head(use_rfe=True))


def session_of(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def assert_equal_results(path, dense_path, *shapes):
    rng = np.random.default_rng(0)
    sessions = session_of(path), session_of(dense_path)
    for shape in shapes:
        images = rng.integers(0, 256, shape, dtype=np.uint8)
        found, expected = (session.run(None, {"images": images}) for session in sessions)
        for values, wanted in zip(found, expected, strict=True):
            assert values.shape == wanted.shape
        is_kept = expected[1] > 0
        np.testing.assert_allclose(found[1], expected[1], atol=1e-5)
        np.testing.assert_allclose(found[0][is_kept], expected[0][is_kept], atol=1e-2)


SHAPES = (1, 3, 97, 131), (2, 3, 64, 96), (1, 3, 1, 1)


@pytest.mark.numerics
@pytest.mark.parametrize(
    "opts",
    [
        ["MODEL.SRN.STC_LEVELS", ["p2", "p4"], "MODEL.SRN.STR_LEVELS", ["p5", "p7"]],
        ["MODEL.SRN.HEAD_CONVOLUTION", "separable", "MODEL.SRN.STR_LEVELS", []],
    ],
    ids=["plain", "separable"],
)
def test_both_branches_compute_what_the_dense_graph_does(
    small_cfg, make_exportable, tmp_path, monkeypatch, opts
):
    model = make_exportable(small_cfg("MODEL.SRN.RFE", False, *opts))
    path, dense_path = tmp_path / "auto.onnx", tmp_path / "dense.onnx"
    export_onnx(model, dense_path, nms=False)
    assert second_steps_of(dense_path) == []
    shares = dict.fromkeys(("plain", "separable"), EXPORTED_SHARE)
    monkeypatch.setattr(sparse_graph, "MAX_SHARE", shares)
    export_onnx(model, path, nms=False, second_step="auto")
    stc_levels = model.model.head.level_selection.stc_levels
    assert second_steps_of(path) == [f"{level}/second_step" for level in stc_levels]
    for max_share in (ALWAYS, NEVER):
        changed_path = tmp_path / f"{max_share}.onnx"
        onnx.save(with_max_share(onnx.load(path), max_share), changed_path)
        assert_equal_results(changed_path, dense_path, *SHAPES)


def with_max_share(model, max_share):
    """A graph that was exported with EXPORTED_SHARE, with another one."""
    shares = [x for x in model.graph.initializer if is_exported_share(x)]
    assert shares
    for share in shares:
        changed = np.full_like(onnx.numpy_helper.to_array(share), max_share)
        share.CopyFrom(onnx.numpy_helper.from_array(changed, share.name))
    return model


def is_exported_share(initializer):
    value = onnx.numpy_helper.to_array(initializer)
    return value.size == 1 and value.item() == pytest.approx(EXPORTED_SHARE)


@pytest.mark.numerics
def test_the_shipped_graph_detects_what_the_dense_one_does(lite, lite_files, tmp_path, photograph):
    path = tmp_path / "lite.onnx"
    export_onnx(lite, path, nms=True, second_step="auto")
    images = np.ascontiguousarray(photograph.transpose(2, 0, 1)[None])
    found, expected = (
        session_of(x).run(None, {"images": images}) for x in (path, lite_files[True])
    )
    assert len(expected[1]) > 0
    np.testing.assert_allclose(found[1], expected[1], atol=1e-4)
    np.testing.assert_allclose(found[0], expected[0], atol=0.05)


def test_the_shipped_graph_is_sparse():
    path = find_shipped_model("lite").graph
    assert second_steps_of(path) == [f"{level}/second_step" for level in ("p2", "p3", "p4")]


def test_both_steps_are_in_the_layout_that_onnx_runtime_computes_fastest_with(tmp_path):
    path = tmp_path / "optimized.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3  # the optimized file is for this processor
    shipped = find_shipped_model("lite").graph
    onnxruntime.InferenceSession(shipped, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(path).graph
    blocked = "com.microsoft.nchwc"
    if not any(node.domain == blocked for node in graph.node):
        pytest.skip("ONNX Runtime has no blocked layout on this processor")
    assert {node.domain for node in graph.node if node.op_type == "Conv"} == {blocked}
    assert "Resize" not in {node.op_type for node in graph.node}  # Upsample in the blocked layout
    branches = [
        attribute.g
        for node in graph.node
        for attribute in node.attribute
        if attribute.name == "else_branch"
    ]
    assert len(branches) == 3
    for branch in branches:
        domains = {node.domain for node in branch.node if "Conv" in node.op_type}
        assert domains == {blocked}
