"""The network in ONNX Runtime, as a variant beside those in PyTorch."""

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.structures import ImageList, Instances

from srn_d2.export.exportable import ExportableModel
from srn_d2.export.onnx_export import export_onnx
from srn_d2.export.onnx_predictor import OnnxFaceDetector
from srn_d2.inference.instances import to_instances
from srn_d2.modeling import SRN


def is_available(device: torch.device) -> bool:
    """Tell whether the variant can run beside others on ``device``."""
    packages = ("onnx", "onnxruntime")
    return device.type == "cpu" and all(importlib.util.find_spec(name) for name in packages)


def onnx_detect(model: SRN, cfg: CfgNode) -> Callable[[ImageList], list[Instances]]:
    """``SRN.detect`` in ONNX Runtime, on the CPU, with as many threads as torch has.

    NMS is in the graph, with the model's own score threshold; the second step is "auto". The graph
    takes pixels and normalises them: turning the benchmark's images back to pixels is part of a
    run, some milliseconds of it.

    Args:
        model: in float32.
        cfg: config of the model.

    Raises:
        ImportError: onnx or onnxruntime is not installed.
        ValueError: the model is not on the CPU.
    """
    if model.device.type != "cpu":
        raise ValueError(f"the variant onnxruntime runs on the CPU, the others on {model.device}")
    exportable = ExportableModel.of(model, cfg, "benchmark")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "benchmark.onnx"
        export_onnx(exportable, path, score_threshold=0.0, second_step="auto")
        detector = OnnxFaceDetector(path, score_threshold=1.0, threads=torch.get_num_threads())

    def detect(images: ImageList) -> list[Instances]:
        pixels = images.tensor * model.pixel_std + model.pixel_mean
        batch = pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        found = zip(detector.detect(batch), images.image_sizes, strict=True)
        return [to_instances(detections, size) for detections, size in found]

    return detect
