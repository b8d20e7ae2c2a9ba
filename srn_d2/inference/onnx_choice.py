"""The network of ``FaceDetector`` on ONNX Runtime, where that can do what is asked for."""

import logging
from typing import NamedTuple

from srn_d2.model_files import ShippedModel

from .onnx_network import OnnxNetwork
from .runtime import Runtime, has_cuda, has_onnxruntime, onnx_threads

logger = logging.getLogger(__name__)


class Asked(NamedTuple):
    """Arguments of ``FaceDetector`` that may need PyTorch."""

    config_file: object
    weights: object
    device: object
    size: object
    dtype: str
    multi_scale: bool

    def reason_for_torch(self) -> str:
        """What of it ONNX Runtime cannot do; "" if it can do all."""
        if self.config_file is not None or self.weights is not None:
            return (
                "it runs the models that come with the package, not a config_file or weights: "
                "export yours by srn-d2 export, and see OnnxFaceDetector"
            )
        if str(self.device) not in ("auto", "cpu"):
            return f"it runs on the CPU, but device is {self.device!r}"
        if self.dtype != "float32":
            return f"it computes in float32, but dtype is {self.dtype!r}"
        if self.multi_scale:
            return "it has no multi-scale testing, but multi_scale is True"
        if self.size == "config":
            return "it reads no config, but size is 'config'"
        return ""


def open_network(
    shipped: ShippedModel, device: object, runtime: Runtime, threads: int | None
) -> OnnxNetwork | None:
    """Open a model's graph; None: PyTorch is to be used.

    Args:
        shipped: a model that has a graph.
        device: argument of ``FaceDetector``: "cpu" or "auto".
        runtime: "onnx" or "auto".
        threads: number of threads; None: those of OMP_NUM_THREADS or all cores.

    Raises:
        ImportError: runtime is "onnx", but onnxruntime cannot be imported.
        FileNotFoundError, ValueError: see ``OnnxNetwork``.
    """
    if shipped.graph is None:
        raise ValueError(f"the model {shipped.name!r} has no graph")
    if runtime == "auto" and (not has_onnxruntime() or (device == "auto" and has_cuda())):
        return None
    try:
        return OnnxNetwork(shipped.graph, threads=threads or onnx_threads())
    except ImportError as error:
        if runtime == "onnx":
            raise
        logger.warning("ONNX Runtime cannot be used, PyTorch computes instead: %s", error)
        return None
