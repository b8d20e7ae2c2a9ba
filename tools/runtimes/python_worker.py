"""An ONNX graph in one runtime, in a process of its own: python_worker.py RUNTIME MODEL.

Messages are lines of JSON. When the graph is loaded: {"version": text}. For each request
{"input": FILE, "shape": [N, 3, H, W], "outputs": FOLDER}, of which FILE holds the uint8 values of
the graph's input, {"seconds": processor time, "outputs": {name: {"type", "shape"}}}, the values in
FOLDER/name. Or {"error": text}. web_worker.mjs does the same.

It imports nothing of this project. Every runtime computes in one thread.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

INPUT = "images"

Run = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Function from the input to the outputs by name."""


def load_onnxruntime(path: str) -> tuple[str, Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    version = onnxruntime.__version__
    return version, lambda x: dict(zip(names, session.run(names, {INPUT: x}), strict=True))


def load_opencv(path: str) -> tuple[str, Run]:
    import cv2

    cv2.setNumThreads(1)
    net = cv2.dnn.readNetFromONNX(path)
    names = net.getUnconnectedOutLayersNames()

    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        net.setInput(x, INPUT)
        # An output without elements is None.
        arrays = [np.empty(0) if array is None else array for array in net.forward(names)]
        return dict(zip(names, arrays, strict=True))

    return cv2.__version__, run


def load_openvino(path: str, precision: str | None = "f32") -> tuple[str, Run]:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    if precision is not None:
        settings["INFERENCE_PRECISION_HINT"] = precision
    model = openvino.Core().compile_model(path, "CPU", settings)
    used = model.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    request = model.create_infer_request()
    names = [output.any_name for output in model.outputs]

    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        request.infer({INPUT: x})
        return {name: request.get_tensor(name).data.copy() for name in names}

    return f"{openvino.__version__.partition('-')[0]}, {used}", run


LOADERS: dict[str, Callable[[str], tuple[str, Run]]] = {
    "onnxruntime": load_onnxruntime,
    "opencv": load_opencv,
    "openvino": load_openvino,
    "openvino-default": lambda path: load_openvino(path, precision=None),
}


def answers(name: str, path: str) -> Iterator[dict]:
    """Load the graph; then answer each line of the standard input."""
    try:
        version, run = LOADERS[name](path)
    except Exception as error:  # whatever a runtime raises is its answer
        yield {"error": describe(error)}
        return
    yield {"version": version}
    for line in sys.stdin:
        request = json.loads(line)
        x = np.fromfile(request["input"], dtype=np.uint8).reshape(request["shape"])
        start = time.process_time()
        try:
            outputs = run(x)
        except Exception as error:
            yield {"error": describe(error)}
            continue
        seconds = time.process_time() - start
        for output, array in outputs.items():
            np.ascontiguousarray(array).tofile(Path(request["outputs"], output))
        described = {k: {"type": str(a.dtype), "shape": a.shape} for k, a in outputs.items()}
        yield {"seconds": seconds, "outputs": described}


def describe(error: Exception) -> str:
    """What an exception says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def main() -> None:
    # What a library prints must not be among the messages.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as messages:
        os.dup2(2, 1)
        for answer in answers(*sys.argv[1:]):
            print(json.dumps(answer), file=messages, flush=True)


if __name__ == "__main__":
    main()
