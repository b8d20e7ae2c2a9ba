"""An ONNX graph whose second step is computed where anchors survive the first, as in PyTorch.

On a level with STC the second step is a node If: few survivors, and it is computed around these
only (``sparse_head``); else everywhere. Each branch and what comes before and after are traced
apart, as a trace cannot hold a condition, and put together here.

    images -> FirstPart -> If of p2, If of p3, ... -> LastPart -> boxes, scores
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from torch import Tensor, nn

from srn_d2.modeling import LEVELS
from srn_d2.modeling.srn_head import SRNHead
from srn_d2.modeling.target_assignment import stc_keep_mask

from .candidates import ExportedNetwork
from .dense_network import DenseNetwork
from .flat_predictions import FlatPredictions, flat_deltas, flat_scores
from .graph_edits import inner_graphs
from .sparse_head import REACH, SparseHead, num_spatial_layers
from .tracing import EXAMPLE_SHAPE, INPUT, INPUT_AXES, trace

MAX_SHARE = {"plain": 0.6, "separable": 0.33}
"""Share of a level's cells up to which they are computed sparsely, the cells that the survivors
depend on included, by the head's convolutions. On an AMD EPYC, one thread, images of some 1024 x
700 pixels: with separable convolutions (``lite``) P2 took 64 ms less than everywhere at a share of
0.04, 21 to 35 less at 0.21 to 0.24, 10 less at 0.26 to 0.28, 11 more at 0.37, and 45 more at 0.6;
with plain ones (``lite-v1``) 225 to 321 ms less at 0.08 to 0.37 and 175 less at 0.57."""
MAX_CELLS = 2**18
"""Number of cells likewise: their neighbourhoods take 600 MB with 64 channels."""

SPARSE_OUTPUTS = ("keep", "map", "survivors", "is_sparse")
"""Outputs of :class:`FirstPart` for a level with STC."""


class FirstPart(nn.Module):
    """From pictures to all that does not depend on which anchors survive, in the order ``outputs``.

    Attributes:
        outputs: for each level with STC ``keep_LEVEL`` (N, Rl) bool, ``map_LEVEL`` (N, H, W, C),
            ``survivors_LEVEL`` (N, 1, H, W) float and ``is_sparse_LEVEL`` () bool, for each other
            level ``scores_s2_LEVEL`` (N, Rl), ``deltas_s2_LEVEL`` (N, Rl, 4) and ``grid_LEVEL``
            (N, A, H, W); the first step's ``deltas_s1_LEVEL`` (N, Rl, 4).
        sparse_levels: the levels with STC.
        unfinished: level -> the pyramid's output convolution, which its map comes without.
    """

    def __init__(self, dense: DenseNetwork):
        super().__init__()
        self.dense = dense
        selection = dense.model.head.level_selection
        self.sparse_levels = [level for level in LEVELS if selection.has_stc(level)]
        backbone = dense.model.backbone
        self.unfinished = {
            level: backbone.outputs[level]
            for level in backbone.deferrable_levels
            if level in self.sparse_levels and backbone.outputs[level].norm is None
        }
        self.max_share = MAX_SHARE["separable" if dense.model.head.is_separable else "plain"]
        self.outputs = [f"deltas_s1_{level}" for level in LEVELS if selection.has_str(level)]
        for level in LEVELS:
            is_sparse = level in self.sparse_levels
            kinds = SPARSE_OUTPUTS if is_sparse else ("scores_s2", "deltas_s2", "grid")
            self.outputs += [f"{kind}_{level}" for kind in kinds]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        model = self.dense.model
        x = self.dense.preprocess(images)
        maps, scores_s1, deltas_s1 = model.compute_first_step(x, tuple(self.unfinished))
        found: dict[str, Tensor] = {}
        for level, scores, deltas in zip(LEVELS, scores_s1, deltas_s1, strict=True):
            x = maps[level]
            if deltas is not None:
                found[f"deltas_s1_{level}"] = flat_deltas(deltas)
            if scores is None:
                scores = model.head.scores(x)
                found[f"scores_s2_{level}"] = flat_scores(scores)
                found[f"deltas_s2_{level}"] = flat_deltas(model.head.deltas(x))
                found[f"grid_{level}"] = scores
                continue
            keep = stc_keep_mask(scores, model.stc_threshold_test)
            survivors = keep.float().amax(dim=1, keepdim=True)
            found[f"keep_{level}"] = flat_scores(keep)
            found[f"map_{level}"] = x.permute(0, 2, 3, 1)
            found[f"survivors_{level}"] = survivors
            found[f"is_sparse_{level}"] = self._is_sparse(survivors)
        return tuple(found[name] for name in self.outputs)

    def _is_sparse(self, survivors: Tensor) -> Tensor:
        reach = REACH * (num_spatial_layers(self.dense.model.head) + bool(self.unfinished))
        read = F.max_pool2d(survivors, 2 * reach + 1, 1, reach)
        return (read.mean() <= self.max_share) & (read.sum() <= MAX_CELLS)


class DenseHead(nn.Module):
    """``SRNHead.scores`` and ``deltas`` everywhere, with argument and results of ``SparseHead``."""

    def __init__(self, head: SRNHead, output: nn.Conv2d | None = None):
        super().__init__()
        self.head, self.output = head, output

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.permute(0, 3, 1, 2)
        x = x if self.output is None else self.output(x)
        return flat_scores(self.head.scores(x)), flat_deltas(self.head.deltas(x))


class LastPart(nn.Module):
    """From the predictions of both steps, in the order ``inputs``, to the outputs."""

    def __init__(self, network: ExportedNetwork, first: FirstPart):
        super().__init__()
        self.network = network
        kept = ("deltas_s1", "keep", "survivors", "grid")
        self.inputs = [
            *(name for name in first.outputs if name.rpartition("_")[0] in kept),
            *(f"{kind}_s2_{level}" for level in LEVELS for kind in ("scores", "deltas")),
        ]

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        of = dict(zip(self.inputs, values, strict=True))
        predictions = FlatPredictions(
            keep=[of.get(f"keep_{level}") for level in LEVELS],
            deltas_s1=[of.get(f"deltas_s1_{level}") for level in LEVELS],
            scores_s2=[of[f"scores_s2_{level}"] for level in LEVELS],
            deltas_s2=[of[f"deltas_s2_{level}"] for level in LEVELS],
            grids=[of.get(f"grid_{level}", of.get(f"survivors_{level}")) for level in LEVELS],
        )
        return self.network.finish(predictions)


def trace_sparse(network: ExportedNetwork, outputs: Mapping[str, dict[int, str]]) -> ModelProto:
    """The graph of a network.

    Args:
        network: with a head that ``sparse_head.can_be_sparse``, and STC on some levels.
        outputs: their names and dynamic axes.
    """
    dense = network if isinstance(network, DenseNetwork) else network.dense
    head = dense.model.head
    first = FirstPart(dense).eval()
    last = LastPart(network, first).eval()
    images = torch.zeros(EXAMPLE_SHAPE, dtype=torch.uint8)
    with torch.no_grad():
        values = {INPUT: images, **dict(zip(first.outputs, first(images), strict=True))}
        for level in first.sparse_levels:
            dense_head = DenseHead(head, first.unfinished.get(level))
            predictions = dense_head(values[f"map_{level}"])
            values[f"scores_s2_{level}"], values[f"deltas_s2_{level}"] = predictions
    axes = {name: _axes(name) for name in values}
    branch_outputs = {"scores": _axes("scores_s2_"), "deltas": _axes("deltas_s2_")}
    with tempfile.TemporaryDirectory() as folder:

        def part(module, inputs, part_outputs):
            path = Path(folder) / "part.onnx"
            examples = {name: (values[of], axes[of]) for name, of in inputs.items()}
            trace(module.eval(), examples, part_outputs, path)
            return onnx.load(path)

        model = part(first, {INPUT: INPUT}, {name: axes[name] for name in first.outputs})
        branches = {}
        for level in first.sparse_levels:
            output = first.unfinished.get(level)
            x = {"x": f"map_{level}"}
            few = {**x, "survivors": f"survivors_{level}"}
            branches[level] = {
                "then_branch": part(SparseHead(head, output), few, branch_outputs),
                "else_branch": part(DenseHead(head, output), x, branch_outputs),
            }
        end = part(last, {name: name for name in last.inputs}, outputs)
    graph = model.graph
    del graph.output[:]
    constants = _SharedConstants(graph)
    for level in first.sparse_levels:
        names = {"x": f"map_{level}", "survivors": f"survivors_{level}"}
        results = [f"scores_s2_{level}", f"deltas_s2_{level}"]
        graphs = {
            kind: _branch(branch, f"{level}/{kind}/", names, constants)
            for kind, branch in branches[level].items()
        }
        graph.node.append(
            helper.make_node(
                "If", [f"is_sparse_{level}"], results, name=f"{level}/second_step", **graphs
            )
        )
    kept = {name: name for name in (*last.inputs, *outputs)}
    graph.node.extend(_inlined(end.graph, "last/", kept, constants))
    graph.output.extend(end.graph.output)
    return model


def _axes(name: str) -> dict[int, str]:
    """Dynamic axes of a tensor, by its name."""
    if name == INPUT:
        return INPUT_AXES
    kind, _, level = name.rpartition("_")
    if kind == "is_sparse":
        return {}
    if kind in ("map", "survivors", "grid"):
        first = 1 if kind == "map" else 2
        return {0: "batch", first: f"height_{level}", first + 1: f"width_{level}"}
    return {0: "batch", 1: f"anchors_{level}"}


class _SharedConstants:
    """The initializers of a graph, to which equal ones of other graphs are mapped."""

    def __init__(self, graph: GraphProto):
        self.graph = graph
        self.names = {_content(x): x.name for x in graph.initializer}

    def add(self, initializers: Sequence[TensorProto], prefix: str) -> dict[str, str]:
        """Add those that are not there yet; returns name -> name in the graph."""
        names = {}
        for x in initializers:
            content = _content(x)
            if content not in self.names:
                copied = TensorProto()
                copied.CopyFrom(x)
                copied.name = f"{prefix}{x.name}"
                self.graph.initializer.append(copied)
                self.names[content] = copied.name
            names[x.name] = self.names[content]
        return names


def _content(tensor: TensorProto) -> tuple[int, tuple[int, ...], bytes]:
    values = onnx.numpy_helper.to_array(tensor)
    return tensor.data_type, values.shape, values.tobytes()


def _branch(
    model: ModelProto, prefix: str, names: Mapping[str, str], constants: _SharedConstants
) -> GraphProto:
    """The graph of a branch; it reads its inputs, ``names``, from the graph around it.

    One with convolutions has its own constants: ONNX Runtime brings kernels into the layout that it
    computes fastest with only where the same graph has them. ``lite`` took 1.15 times as long
    without at 1024 x 768, and 1.26 times at 254 x 162 (means of six images).
    """
    own = GraphProto()
    if any(node.op_type == "Conv" for node in model.graph.node):
        constants = _SharedConstants(own)
    nodes = _inlined(model.graph, prefix, names, constants)
    # Without the names of their dimensions, which are those of one level.
    outputs = [
        helper.make_tensor_value_info(f"{prefix}{name}", TensorProto.FLOAT, [None] * num_dims)
        for name, num_dims in (("scores", 2), ("deltas", 3))
    ]
    name = prefix.strip("/").replace("/", "_")
    return helper.make_graph(nodes, name, [], outputs, own.initializer)


def _inlined(
    graph: GraphProto, prefix: str, kept: Mapping[str, str], constants: _SharedConstants
) -> list[NodeProto]:
    """Copies of a graph's nodes, with ``prefix`` before all names but those of ``kept``."""
    names = {"": ""} | constants.add(graph.initializer, prefix) | dict(kept)
    nodes = []
    for node in graph.node:
        copied = NodeProto()
        copied.CopyFrom(node)
        _rename(copied, prefix, names)
        nodes.append(copied)
    return nodes


def _rename(node: NodeProto, prefix: str, names: Mapping[str, str]) -> None:
    node.name = f"{prefix}{node.name}"
    for values in (node.input, node.output):
        renamed = [names.get(name, f"{prefix}{name}") for name in values]
        del values[:]
        values.extend(renamed)
    for inner in inner_graphs(node):
        own = {x.name: f"{prefix}{x.name}" for x in inner.initializer}
        for x in (*inner.initializer, *inner.output):
            x.name = names.get(x.name, f"{prefix}{x.name}")
        for inner_node in inner.node:
            _rename(inner_node, prefix, {**names, **own})
