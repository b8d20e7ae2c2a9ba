"""What an ONNX file holds."""

from pathlib import Path

import onnx


def second_steps_of(path: Path) -> list[str]:
    """Names of the conditions on which the second step is computed sparsely."""
    nodes = onnx.load(path).graph.node
    return [x.name for x in nodes if x.op_type == "If" and x.name.endswith("/second_step")]
