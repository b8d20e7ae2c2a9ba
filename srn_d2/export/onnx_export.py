"""SRN as an ONNX file, for any height, width and number of images."""

import os
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import torch

from srn_d2.atomic_file import atomic_path

from .candidates import CandidateNetwork, ExportedNetwork
from .constant_sizes import constant_sizes
from .dense_network import DetectionNetwork
from .exportable import ExportableModel
from .metadata import ExportMetadata
from .sparse_head import can_be_sparse
from .tracing import EXAMPLE_SHAPE, INPUT, INPUT_AXES, trace

if TYPE_CHECKING:
    from onnx import ModelProto

DEFAULT_SCORE_THRESHOLD = 0.05
"""Default score threshold of a graph's NMS: below any useful threshold, but with few candidates."""

# Output -> its dynamic axes.
DENSE_OUTPUTS = {
    "boxes": {0: "batch", 1: "anchors"},
    "scores": {0: "batch", 1: "anchors"},
}
CANDIDATE_OUTPUTS = {
    "boxes": {0: "batch", 1: "candidates"},
    "scores": {0: "batch", 1: "candidates"},
}
NMS_OUTPUTS = {
    "boxes": {0: "detections"},
    "scores": {0: "detections"},
    "image_index": {0: "detections"},
}


def export_onnx(
    model: ExportableModel,
    path: str | os.PathLike,
    *,
    nms: bool = True,
    score_threshold: float = DEFAULT_SCORE_THRESHOLD,
    half_precision: bool = False,
    second_step: Literal["dense", "auto"] = "dense",
    candidates_only: bool = False,
) -> ExportMetadata:
    """Write a model as an ONNX file, atomically.

    The input, ``images``, is uint8 (N, 3, H, W), RGB, any N, H and W; padding and normalisation
    are in the graph. With NMS the outputs are those of ``DetectionNetwork``, ``boxes`` (n, 4),
    ``scores`` (n,) and ``image_index`` (n,); else those of ``DenseNetwork``, ``boxes`` (N, R, 4)
    and ``scores`` (N, R), of all anchors, or those of ``CandidateNetwork``, (N, K, 4) and (N, K).
    The file's properties are those of ``ExportMetadata``.

    Args:
        model: the model to write.
        path: the file; its folder is created.
        nms: whether the graph ends with NMS.
        score_threshold: score threshold of the graph's NMS.
        half_precision: whether kernels that are in half precision, as in the package's models, are
            stored so, with a Cast to float32, in which the graph computes in any case.
        second_step: "dense", a graph for all runtimes; or "auto": on levels with STC the second
            step is computed around surviving anchors only, if these are few, as PyTorch does by
            MODEL.SRN.SECOND_STEP. Such a graph needs If, NonZero and CumSum, and has been tried
            in ONNX Runtime. Without STC, or with RFE, it is the same as "dense".
        candidates_only: without NMS, whether the outputs are only the anchors that NMS gets, the
            best of an image, by descending score, instead of all. It has been tried in ONNX
            Runtime, and ``OnnxFaceDetector`` finds the same faces in less time.

    Returns:
        the file's metadata.

    Raises:
        ImportError: onnx is not installed.
        NotExportableError: a part of the network cannot be expressed in ONNX, or
            ``candidates_only`` is given for a model whose post-processing chooses other candidates
            than the best anchors of an image.
        ValueError: ``candidates_only`` is given for a graph with NMS.
        OSError: the file cannot be written.
    """
    onnx = import_onnx()
    from .graph_edits import simplify_for_runtimes, store_half_precision

    if nms and candidates_only:
        raise ValueError("candidates_only is for graphs without NMS")
    network: ExportedNetwork
    if nms:
        network, outputs = DetectionNetwork(model.network, score_threshold), NMS_OUTPUTS
    elif candidates_only:
        network, outputs = CandidateNetwork(model.network), CANDIDATE_OUTPUTS
    else:
        network, outputs = model.network, DENSE_OUTPUTS
    metadata = model.metadata(
        nms=nms, score_threshold=score_threshold, candidates_only=candidates_only
    )
    with atomic_path(path) as draft:
        graph = _trace(network, draft, outputs, second_step)
        onnx.helper.set_model_props(graph, metadata.to_properties())
        simplify_for_runtimes(graph)
        if half_precision:
            store_half_precision(graph, network)
        graph.producer_name, graph.producer_version = "srn_d2", metadata.project_version
        onnx.checker.check_model(graph, full_check=True)
        onnx.save(graph, draft)
    return metadata


def _trace(
    network: ExportedNetwork,
    path: os.PathLike,
    outputs: dict[str, dict[int, str]],
    second_step: str,
) -> "ModelProto":
    from onnx import load

    from .sparse_graph import trace_sparse

    head = network.model.head
    is_sparse = second_step == "auto" and head.level_selection.stc_levels and can_be_sparse(head)
    with constant_sizes(network.model):
        if is_sparse:
            return trace_sparse(network, outputs)
        example = torch.zeros(EXAMPLE_SHAPE, dtype=torch.uint8)
        trace(network.eval(), {INPUT: (example, INPUT_AXES)}, outputs, path)
        return load(path)


def import_onnx() -> ModuleType:
    """Import the package onnx.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("The export to ONNX needs onnx: pip install 'srn_d2[export]'") from error
    return onnx
