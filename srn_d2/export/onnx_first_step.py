"""SRN's dense part, backbone and first step, in ONNX Runtime; the rest stays in torch.

The second step is computed only where anchors survive the first, see
``srn_d2.modeling.selective_inference``. What comes before is computed everywhere, and faster by
ONNX Runtime on CPUs, above all on one thread.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from srn_d2.modeling import LEVELS, SRN

from .constant_sizes import constant_sizes
from .onnx_export import import_onnx
from .onnx_predictor import open_session
from .tracing import INPUT, INPUT_AXES, trace

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# Shape of the traced input: no dimension may be 1 or equal another, lest it become a constant.
EXAMPLE_SHAPE = (2, 3, 96, 128)


def use_onnx_runtime(model: nn.Module, num_threads: int | None = None) -> None:
    """Have ONNX Runtime compute a model's backbone and first step in inference.

    Args:
        model: SRN on a CPU, in float32, whose weights do not change from now on.
        num_threads: number of ONNX Runtime's threads; None: number of cores.

    Raises:
        ValueError: the model is another one, on a GPU or in bfloat16, or ONNX cannot hold it.
        ImportError: onnx or onnxruntime is not installed; the message says how to install it.
    """
    if not isinstance(model, SRN):
        raise ValueError(f"ONNX Runtime is for SRN only, not {type(model).__name__}")
    if model.device.type != "cpu" or model.test_bfloat16 or model.cpu_bfloat16:
        raise ValueError("ONNX Runtime is for CPUs and float32: leave --runtime out")
    model.first_step = OnnxFirstStep(model, num_threads)


class OnnxFirstStep:
    """``SRN.compute_first_step`` in ONNX Runtime; several threads may call it.

    Args:
        model, num_threads: see ``use_onnx_runtime``.

    Raises:
        ValueError, ImportError: see ``use_onnx_runtime``.
    """

    def __init__(self, model: SRN, num_threads: int | None = None):
        self._unfinished = tuple(model.second_step.unfinished_levels(model.backbone, model.head))
        selection = model.head.level_selection
        scores = [f"scores_{level}" for level in LEVELS if selection.has_stc(level)]
        deltas = [f"deltas_{level}" for level in LEVELS if selection.has_str(level)]
        self._outputs = (*LEVELS, *scores, *deltas)
        self._session = self._export(model, num_threads)

    def __call__(
        self, x: Tensor, unfinished: Sequence[str]
    ) -> tuple[dict[str, Tensor], list[Tensor | None], list[Tensor | None]]:
        if tuple(unfinished) != self._unfinished:
            raise ValueError(f"exported for unfinished levels {self._unfinished}, not {unfinished}")
        arrays = self._session.run(self._outputs, {INPUT: x.contiguous().numpy()})
        of = {
            name: torch.from_numpy(array) for name, array in zip(self._outputs, arrays, strict=True)
        }
        maps = {level: of[level].contiguous(memory_format=torch.channels_last) for level in LEVELS}
        scores = [of.get(f"scores_{level}") for level in LEVELS]
        return maps, scores, [of.get(f"deltas_{level}") for level in LEVELS]

    def _export(self, model: SRN, num_threads: int | None) -> "InferenceSession":
        onnx = import_onnx()
        from .graph_edits import simplify_for_runtimes

        part = _FlatOutputs(model, self._unfinished)
        axes = {name: {0: "batch", 2: f"h_{name}", 3: f"w_{name}"} for name in self._outputs}
        example = torch.zeros(EXAMPLE_SHAPE)
        with tempfile.TemporaryDirectory() as folder, constant_sizes(model):
            path = Path(folder) / "first_step.onnx"
            trace(part.eval(), {INPUT: (example, INPUT_AXES)}, axes, path)
            graph = onnx.load(path)
            simplify_for_runtimes(graph)
            onnx.save(graph, path)
            return open_session(path, threads=num_threads)


class _FlatOutputs(nn.Module):
    """``compute_first_step`` with a tuple of tensors as output, for the exporter."""

    def __init__(self, model: SRN, unfinished: Sequence[str]):
        super().__init__()
        self.model, self.unfinished = model, unfinished

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps, scores, deltas = self.model.compute_first_step(x, self.unfinished)
        first_step = [value for value in (*scores, *deltas) if value is not None]
        return (*(maps[level] for level in LEVELS), *first_step)
