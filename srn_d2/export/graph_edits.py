"""Edits of an exported ONNX graph that keep its results: for other runtimes, and for its size."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from detectron2.layers import FrozenBatchNorm2d
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
    shape_inference,
)
from torch import nn

from srn_d2.modeling.folded_norm import FoldedConv2d

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)
MATCH_TOLERANCE = 1e-6
"""Largest relative difference of a kernel in the graph from the one computed here."""


def simplify_for_runtimes(model: ModelProto) -> None:
    """Write constants as initializers, Clip of integers as Min and Max, and no empty last inputs.

    OpenCV's dnn leaves out a Cast behind a Mul or a Gather of a Constant node
    (findings/opencv_dnn_cast_after_constant.sh), and refuses a Clip of int64 with one bound. ONNX
    Runtime makes a Pad part of the Conv after it only if the Pad has no empty third input, which
    torch writes (findings/empty_pad_value_prevents_fusion_in_onnxruntime.sh).
    """
    clips = _integer_clips(model)
    for graph in _graphs(model.graph):
        _constants_to_initializers(graph)
        for node in graph.node:
            while node.input and not node.input[-1]:
                node.input.pop()
        nodes = []
        for node in graph.node:
            nodes += _min_max(node) if node.output and node.output[0] in clips else [node]
        del graph.node[:]
        graph.node.extend(nodes)


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and those in its nodes' attributes."""
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from _graphs(inner)


def inner_graphs(node: NodeProto) -> list[GraphProto]:
    """The graphs in a node's attributes, such as the branches of an If."""
    return [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]


def _constants_to_initializers(graph: GraphProto) -> None:
    kept = []
    for node in graph.node:
        tensor = _value(node) if node.op_type == "Constant" else None
        if tensor is None:
            kept.append(node)
        else:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
    del graph.node[:]
    graph.node.extend(kept)


def _value(node: NodeProto) -> TensorProto | None:
    """The tensor of a Constant; None for one of strings or of a sparse tensor."""
    [attribute] = node.attribute
    if attribute.name == "value":
        tensor = TensorProto()
        tensor.CopyFrom(attribute.t)
        return tensor
    types = {"value_int": np.int64, "value_ints": np.int64}
    types |= {"value_float": np.float32, "value_floats": np.float32}
    if attribute.name not in types:
        return None
    value = np.array(helper.get_attribute_value(attribute), dtype=types[attribute.name])
    return numpy_helper.from_array(value)


def _integer_clips(model: ModelProto) -> set[str]:
    """Names of the outputs of Clip nodes on int64 and int32."""
    inferred = shape_inference.infer_shapes(model)
    integers = (TensorProto.INT64, TensorProto.INT32)
    return {
        node.output[0]
        for graph in _graphs(inferred.graph)
        for types in [{x.name: x.type.tensor_type.elem_type for x in graph.value_info}]
        for node in graph.node
        if node.op_type == "Clip" and types.get(node.output[0]) in integers
    }


def _min_max(clip: NodeProto) -> list[NodeProto]:
    """Nodes Max and Min in place of a Clip."""
    x, low, high = (*clip.input, "", "")[:3]
    steps = [(op, bound) for op, bound in (("Max", low), ("Min", high)) if bound]
    nodes = []
    for number, (op, bound) in enumerate(steps):
        is_last = number == len(steps) - 1
        output = clip.output[0] if is_last else f"{clip.output[0]}_above"
        nodes.append(helper.make_node(op, [x, bound], [output], name=f"{clip.name}/{op}"))
        x = output
    return nodes or [helper.make_node("Identity", [x], list(clip.output), name=clip.name)]


class _Kernel(NamedTuple):
    """A kernel in half precision, and the factors (C, 1, 1, 1) of its output channels, if any."""

    half: "NDArray[np.float16]"
    scale: "NDArray[np.float32] | None"


def store_half_precision(model: ModelProto, network: nn.Module) -> int:
    """Store the kernels in half precision, with a Cast to float32, where that loses nothing.

    The kernels of a network that was loaded from half precision are such, but for those that a
    batch normalisation is folded into: of these the kernel and the scale are stored. ONNX Runtime
    computes the casts and products once, when it loads the file.

    Args:
        model: the exported graph, changed in place.
        network: the network that it was exported from.

    Returns:
        number of kernels that stay in float32.
    """
    folded = list(_folded_kernels(network))
    return sum(_store_half_precision(graph, folded) for graph in _graphs(model.graph))


def _store_half_precision(graph: GraphProto, folded: list[_Kernel]) -> int:
    """The same in one graph; returns the number of its kernels that stay in float32."""
    initializers, nodes, num_left = [], [], 0
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            initializers.append(tensor)
            continue
        kernel = _split(numpy_helper.to_array(tensor), folded)
        if kernel is None:
            initializers.append(tensor)
            num_left += 1
            continue
        initializers.append(numpy_helper.from_array(kernel.half, f"{tensor.name}_half"))
        cast = tensor.name if kernel.scale is None else f"{tensor.name}_unscaled"
        nodes.append(
            helper.make_node("Cast", [f"{tensor.name}_half"], [cast], to=TensorProto.FLOAT)
        )
        if kernel.scale is not None:
            # Not "_scale": under that name onnxruntime.quantization looks for its own.
            factors = f"{tensor.name}_factors"
            initializers.append(numpy_helper.from_array(kernel.scale, factors))
            nodes.append(helper.make_node("Mul", [cast, factors], [tensor.name]))
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    return num_left


def _split(values: np.ndarray, folded: Iterable[_Kernel]) -> _Kernel | None:
    """A kernel in half precision; None: it has other values."""
    half = values.astype(np.float16)
    if (half.astype(np.float32) == values).all():
        return _Kernel(half, None)
    for kernel in folded:
        if kernel.half.shape == values.shape and np.allclose(
            kernel.half.astype(np.float32) * kernel.scale, values, rtol=MATCH_TOLERANCE, atol=0
        ):
            return kernel
    return None


@torch.no_grad()
def _folded_kernels(network: nn.Module) -> Iterator[_Kernel]:
    """The kernels that a batch normalisation is folded into, if they are in half precision.

    It is folded by ``FoldedConv2d``, or by the export if it is the ``norm`` of detectron2's Conv2d.
    """
    for module in network.modules():
        if isinstance(module, FoldedConv2d):
            scale, _ = module.scale_and_shift()
        elif isinstance(getattr(module, "norm", None), _NORMS):
            norm = module.norm
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        else:
            continue
        half = module.weight.half()
        if torch.equal(half.float(), module.weight):
            yield _Kernel(half.contiguous().numpy(), scale[:, None, None, None].numpy())
