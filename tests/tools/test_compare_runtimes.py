"""tools/compare_runtimes.py on small graphs, in real runtimes."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from runtimes.measure import Difference, compare
from runtimes.process import Runtime, RuntimeFailure, RuntimeProcess


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("compare_runtimes")


@pytest.fixture
def folder(tmp_path):
    """A picture, and graphs whose boxes are its bytes and whose scores are among these.

    clip.onnx limits integers as OpenCV 5 cannot.
    """
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    limit = {
        "clip": [
            helper.make_node("Cast", ["images"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Clip", ["whole", "", "high"], ["limited"]),
            helper.make_node("Cast", ["limited"], ["values"], to=TensorProto.FLOAT),
        ],
        "plain": [helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT)],
    }
    constants = {"shape": np.array([0, -1, 4]), "high": np.int64(200), "unit": np.float32(255)}
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 3, "h", "w"])
    outputs = [
        helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", "r", 4]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", "r"]),
    ]
    for name, first in limit.items():
        nodes = [
            *first,
            helper.make_node("Reshape", ["values", "shape"], ["boxes"]),
            helper.make_node("ReduceMax", ["boxes"], ["best"], axes=[2], keepdims=0),
            helper.make_node("Div", ["best", "unit"], ["scores"]),
        ]
        tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
        graph = helper.make_graph(nodes, name, [images], outputs, tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, tmp_path / f"{name}.onnx")
    return tmp_path


def test_the_table_names_results_failures_and_what_is_missing(tool, folder, capsys):
    plain, clip = (str(folder / f"{name}.onnx") for name in ("plain", "clip"))
    options = ["--images", str(folder), "--sizes", "32", "--repeats", "1"]
    absent = ["--node-modules", str(folder / "absent" / "node_modules")]
    path = folder / "new" / "table.md"
    assert tool.main([plain, clip, *options, *absent, "--output", str(path)]) == 1
    table = path.read_text()
    assert capsys.readouterr().out == table
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    of = {(row[0], row[2]): row for row in rows}
    assert of["ONNX Runtime", "`plain.onnx`"][3:] == ["0", "0", "1.00 (1.00 to 1.00)"]
    assert of["OpenCV dnn", "`plain.onnx`"][4] == "0"  # whole numbers
    assert float(of["OpenCV dnn", "`plain.onnx`"][3]) < 1e-6
    assert "Clip" in of["OpenCV dnn", "`clip.onnx`"][3]
    command = f"npm install --prefix {folder / 'absent'} onnxruntime-web"
    assert command in of["onnxruntime-web (WebAssembly, Node)", "`plain.onnx`"][3]


def test_wrong_arguments_are_named(tool, folder, capsys):
    options = ["--images", str(folder), "--sizes", "32"]
    assert tool.main([str(folder / "absent.onnx"), *options]) == 2
    assert "absent.onnx" in capsys.readouterr().err
    assert tool.main([str(folder / "plain.onnx"), "--images", str(folder / "new")]) == 2
    assert "has no pictures" in capsys.readouterr().err
    (folder / "damaged.onnx").write_bytes(b"no graph")
    assert tool.main([str(folder / "damaged.onnx"), *options]) == 2
    assert "ONNX Runtime: does not load it" in capsys.readouterr().err


def test_a_process_that_ends_is_a_failure(tmp_path):
    script = "import sys; print('out of memory', file=sys.stderr); sys.exit(3)"
    runtime = Runtime("it", "", True, (sys.executable, "-c", script))
    with pytest.raises(RuntimeFailure, match="ended with status 3: out of memory"):
        RuntimeProcess(runtime, tmp_path / "a.onnx")


def dense(scores, shift=0.0):
    boxes = np.arange(8, dtype=np.float32).reshape(1, 2, 4) * 10
    return {"boxes": boxes + shift, "scores": np.array([scores], dtype=np.float32)}


def detections(boxes, scores, images):
    return {
        "boxes": np.array(boxes, dtype=np.float32),
        "scores": np.array(scores, dtype=np.float32),
        "image_index": np.array(images, dtype=np.int64),
    }


def test_boxes_of_low_scores_do_not_count():
    shift = np.array([[[0.25], [9.0]]], dtype=np.float32)
    found = compare(dense([0.5, 0.01]), dense([0.5, 0.015], shift), 1)
    assert found.box == 0.25
    assert found.score == pytest.approx(0.005, abs=1e-6)


def test_what_is_not_a_number_differs_by_infinity():
    found = compare(dense([0.5, 0.5]), dense([np.nan, 0.5]), 1)
    assert (found | Difference(0.1)).score == (Difference(0.1) | found).score == np.inf


@pytest.mark.parametrize(
    "found", [{"boxes": np.zeros((1, 3, 4)), "scores": np.zeros((1, 3))}, {"boxes": np.zeros(3)}]
)
def test_other_outputs_are_an_error(found):
    with pytest.raises(ValueError, match="instead of"):
        compare(dense([0.5, 0.5]), found, 1)


def test_detections_are_matched_within_their_image():
    boxes = [[0, 0, 10, 10], [40, 40, 60, 60], [0, 0, 10, 10]]
    expected = detections(boxes, [0.9, 0.8, 0.7], [0, 0, 1])
    swapped = detections([boxes[1], boxes[0], boxes[2]], [0.8, 0.9, 0.7], [0, 0, 1])
    assert compare(expected, swapped, 2) == Difference(num_detections=6)
    elsewhere = detections(boxes, [0.9, 0.8, 0.7], [0, 1, 1])
    assert compare(expected, elsewhere, 2).num_alone == 2
    nothing = detections([], [], [])  # as OpenCV gives it, without (0, 4)
    assert compare(expected, nothing, 2) == Difference(num_alone=3, num_detections=3)
    assert compare(nothing, nothing, 2) == Difference()
