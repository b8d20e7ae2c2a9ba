"""The runtimes, and a process that runs a graph in one of them."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from worker_process import THREAD_VARIABLES, end_process

TIMEOUT = 300.0
"""Longest time in seconds that a runtime may take to load a graph or to run it."""
REFERENCE = "onnxruntime"
"""Runtime that the others are compared with."""

_HERE = Path(__file__).parent

Outputs = dict[str, np.ndarray]


class Runtime(NamedTuple):
    """A runtime.

    Attributes:
        title: its name in a table.
        install: the command that installs it.
        is_installed: whether it can be started.
        command: the command that starts it, to which the path of the graph is added.
    """

    title: str
    install: str
    is_installed: bool
    command: tuple[str, ...]


def known_runtimes(node_modules: Path) -> dict[str, Runtime]:
    """The runtimes by name.

    Args:
        node_modules: npm's folder with onnxruntime-web.
    """
    python = (sys.executable, str(_HERE / "python_worker.py"))
    found = {
        name: Runtime(title, f"pip install {package}", find_spec(module) is not None, command)
        for name, title, package, module in (
            (REFERENCE, "ONNX Runtime", "onnxruntime", "onnxruntime"),
            ("opencv", "OpenCV dnn", "opencv-python-headless", "cv2"),
            ("openvino", "OpenVINO in float32", "openvino", "openvino"),
            ("openvino-default", "OpenVINO as it comes", "openvino", "openvino"),
        )
        for command in [(*python, name)]
    }
    node = shutil.which("node")
    install = f"npm install --prefix {node_modules.parent} onnxruntime-web"
    found["web"] = Runtime(
        "onnxruntime-web (WebAssembly, Node)",
        install if node else f"apt install nodejs npm && {install}",
        node is not None and (node_modules / "onnxruntime-web").is_dir(),
        (node or "node", str(_HERE / "web_worker.mjs"), str(node_modules)),
    )
    return found


class RuntimeFailure(RuntimeError):
    """A runtime cannot load or run a graph; the message is its own."""


class RuntimeProcess:
    """A graph that is loaded in a runtime, in a process that ends with its context.

    Attributes:
        version: the runtime's version, and what else it says of itself.

    Args:
        runtime: one that is installed.
        model: path of an ONNX file with the input ``images``, uint8 (N, 3, H, W).

    Raises:
        RuntimeFailure: it cannot load the graph.
    """

    def __init__(self, runtime: Runtime, model: Path):
        self._folder = tempfile.TemporaryDirectory(prefix="runtime")
        self._errors = Path(self._folder.name, "stderr")
        with open(self._errors, "wb") as errors:
            self._process = subprocess.Popen(
                [*runtime.command, str(model)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")},
            )
        try:
            self.version: str = self._receive()["version"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "RuntimeProcess":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def run(self, images: np.ndarray) -> tuple[Outputs, float]:
        """Run the graph.

        Args:
            images: uint8 (N, 3, H, W).

        Returns:
            the outputs by name, and seconds of processor time.

        Raises:
            RuntimeFailure: it cannot; later calls may, unless the process ended.
        """
        folder = self._folder.name
        path = os.path.join(folder, "input")
        np.ascontiguousarray(images).tofile(path)
        request = {"input": path, "shape": images.shape, "outputs": folder}
        with contextlib.suppress(OSError):  # it has ended: there is no answer
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        answer = self._receive()
        outputs = {
            name: np.fromfile(os.path.join(folder, name), dtype=x["type"]).reshape(x["shape"])
            for name, x in answer["outputs"].items()
        }
        return outputs, answer["seconds"]

    def close(self) -> None:
        """End the process."""
        end_process(self._process)
        self._folder.cleanup()

    def _receive(self) -> dict[str, Any]:
        if not select.select([self._process.stdout], [], [], TIMEOUT)[0]:
            self._process.kill()
            raise RuntimeFailure(f"no answer in {TIMEOUT:g} seconds")
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            printed = self._errors.read_text(errors="replace").strip().splitlines() or ["no output"]
            raise RuntimeFailure(f"ended with status {status}: {printed[-1]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeFailure(answer["error"])
        return answer
