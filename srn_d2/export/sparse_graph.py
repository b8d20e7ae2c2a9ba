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

from srn_d2.modeling import LEVELS, SRNPredictions
from srn_d2.modeling.srn_head import SRNHead
from srn_d2.modeling.target_assignment import stc_keep_mask

from .dense_network import DenseNetwork, DetectionNetwork
from .graph_edits import inner_graphs
from .sparse_head import REACH, SparseHead, num_spatial_layers
from .tracing import EXAMPLE_SHAPE, INPUT, INPUT_AXES, trace

MAX_SHARE = {"plain": 0.6, "separable": 0.4}
"""Share of a level's cells up to which they are computed sparsely, the cells that the survivors
depend on included, by the head's convolutions. On an AMD EPYC, one thread, ``lite-v1`` (plain) took
0.52 to 0.64 of the dense graph's time where these shares were below 0.7, and 0.92 where they were
0.61 to 0.70 on all levels. With separable convolutions, which cost less, it was 0.60 to
0.68 at shares of up to 0.12 on P2, 0.9 to 1.2 at 0.41 to 0.52, and 1.6 at 0.75."""
MAX_CELLS = 2**18
"""Number of cells likewise: their neighbourhoods take 600 MB with 64 channels."""


class FirstPart(nn.Module):
    """From pictures to all that does not depend on which anchors survive, in the order ``outputs``.

    Attributes:
        outputs: for each level with STC ``map_LEVEL`` (N, C, H, W), ``survivors_LEVEL`` (N, H, W)
            bool and ``is_sparse_LEVEL`` () bool, for each other level ``scores_s2_LEVEL`` and
            ``deltas_s2_LEVEL``; the first step's ``scores_s1_LEVEL`` and ``deltas_s1_LEVEL``.
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
        self.outputs = [f"scores_s1_{level}" for level in self.sparse_levels]
        self.outputs += [f"deltas_s1_{level}" for level in LEVELS if selection.has_str(level)]
        for level in LEVELS:
            if level in self.sparse_levels:
                self.outputs += [f"map_{level}", f"survivors_{level}", f"is_sparse_{level}"]
            else:
                self.outputs += [f"scores_s2_{level}", f"deltas_s2_{level}"]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        model = self.dense.model
        x = self.dense.preprocess(images)
        maps, scores_s1, deltas_s1 = model.compute_first_step(x, tuple(self.unfinished))
        found: dict[str, Tensor] = {}
        for level, scores, deltas in zip(LEVELS, scores_s1, deltas_s1, strict=True):
            x = maps[level]
            if deltas is not None:
                found[f"deltas_s1_{level}"] = deltas
            if scores is None:
                found[f"scores_s2_{level}"] = model.head.scores(x)
                found[f"deltas_s2_{level}"] = model.head.deltas(x)
                continue
            found[f"scores_s1_{level}"], found[f"map_{level}"] = scores, x
            survivors = stc_keep_mask(scores, model.stc_threshold_test).any(dim=1)
            found[f"survivors_{level}"] = survivors
            found[f"is_sparse_{level}"] = self._is_sparse(survivors)
        return tuple(found[name] for name in self.outputs)

    def _is_sparse(self, survivors: Tensor) -> Tensor:
        reach = REACH * (num_spatial_layers(self.dense.model.head) + bool(self.unfinished))
        read = F.max_pool2d(survivors[:, None].float(), 2 * reach + 1, 1, reach)
        count = read.sum()
        return (count <= self.max_share * torch.ones_like(read).sum()) & (count <= MAX_CELLS)


class DenseHead(nn.Module):
    """``SRNHead.scores`` and ``deltas`` everywhere, with the arguments of ``SparseHead``."""

    def __init__(self, head: SRNHead, output: nn.Conv2d | None = None):
        super().__init__()
        self.head, self.output = head, output

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x if self.output is None else self.output(x)
        return self.head.scores(x), self.head.deltas(x)


class LastPart(nn.Module):
    """From the predictions of both steps, as maps in the order ``inputs``, to the outputs."""

    def __init__(self, network: DenseNetwork | DetectionNetwork, dense: DenseNetwork):
        super().__init__()
        self.network, self.dense = network, dense
        selection = dense.model.head.level_selection
        self.inputs = [
            *(f"scores_s1_{level}" for level in LEVELS if selection.has_stc(level)),
            *(f"deltas_s1_{level}" for level in LEVELS if selection.has_str(level)),
            *(f"{kind}_s2_{level}" for level in LEVELS for kind in ("scores", "deltas")),
        ]

    def forward(self, *values: Tensor) -> tuple[Tensor, ...]:
        of = dict(zip(self.inputs, values, strict=True))
        predictions = SRNPredictions(
            [of.get(f"scores_s1_{level}") for level in LEVELS],
            [of.get(f"deltas_s1_{level}") for level in LEVELS],
            [of[f"scores_s2_{level}"] for level in LEVELS],
            [of[f"deltas_s2_{level}"] for level in LEVELS],
        )
        return self.network.finish(self.dense.decode(predictions))


def trace_sparse(
    network: DenseNetwork | DetectionNetwork, outputs: Mapping[str, dict[int, str]]
) -> ModelProto:
    """The graph of a network.

    Args:
        network: with a head that ``sparse_head.can_be_sparse``, and STC on some levels.
        outputs: their names and dynamic axes.
    """
    dense = network.dense if isinstance(network, DetectionNetwork) else network
    head = dense.model.head
    first, last = FirstPart(dense).eval(), LastPart(network, dense).eval()
    images = torch.zeros(EXAMPLE_SHAPE, dtype=torch.uint8)
    with torch.no_grad():
        values = {INPUT: images, **dict(zip(first.outputs, first(images), strict=True))}
        for level in first.sparse_levels:
            dense_head = DenseHead(head, first.unfinished.get(level))
            predictions = dense_head(values[f"map_{level}"])
            values[f"scores_s2_{level}"], values[f"deltas_s2_{level}"] = predictions
    axes = {name: _axes(name) for name in values}
    branch_outputs = {"scores": _axes("scores_s2"), "deltas": _axes("deltas_s2")}
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
    first = 1 if kind == "survivors" else 2
    return {0: "batch", first: f"height_{level}", first + 1: f"width_{level}"}


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
    """The graph of a branch; it reads its inputs, ``names``, from the graph around it."""
    nodes = _inlined(model.graph, prefix, names, constants)
    # Without the names of their dimensions, which are those of one level.
    outputs = [
        helper.make_tensor_value_info(f"{prefix}{x.name}", TensorProto.FLOAT, [None] * 4)
        for x in model.graph.output
    ]
    return helper.make_graph(nodes, prefix.strip("/").replace("/", "_"), [], outputs)


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
