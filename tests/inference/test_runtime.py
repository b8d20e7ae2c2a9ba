"""FaceDetector on ONNX Runtime and on PyTorch: the same faces, the choice, what each can do."""

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from helpers.detections import assert_best_first, assert_same_detections
from srn_d2 import FaceDetector
from srn_d2.data.datasets.toy_scenes import SCENE_KINDS, draw_scene
from srn_d2.inference import onnx_choice, runtime
from srn_d2.inference.runtime import may_have_gpu, onnx_threads

LOW = 0.02
"""A score threshold that toy faces exceed."""


@pytest.fixture(scope="module")
def detectors():
    """{runtime: a detector}"""
    options = {"device": "cpu", "score_threshold": LOW}
    return {name: FaceDetector(runtime=name, **options) for name in ("onnx", "torch")}


def scene(seed, height, width):
    """A picture with drawn faces, cut to a size."""
    rng = np.random.default_rng(seed)
    pixels, _ = draw_scene(SCENE_KINDS[1], rng)
    return np.ascontiguousarray(pixels[:height, :width])


@pytest.mark.numerics
@pytest.mark.parametrize("seed", range(3))
def test_both_find_the_same_faces(detectors, seed):
    image = scene(seed, 301 + 40 * seed, 403 - 30 * seed)
    found, expected = (detectors[name](image) for name in ("onnx", "torch"))
    assert_same_detections(found, expected, box_tolerance=0.05, score_tolerance=1e-3)
    assert_best_first(found)


@pytest.mark.numerics
@pytest.mark.parametrize("options", [{"size": 200}, {"min_face_size": 16}, {"large_faces": False}])
def test_options_mean_the_same(options):
    image = scene(3, 320, 420)
    found, expected = (
        FaceDetector(runtime=name, device="cpu", score_threshold=LOW, **options)(image)
        for name in ("onnx", "torch")
    )
    assert_same_detections(found, expected, box_tolerance=0.05, score_tolerance=1e-3)


@pytest.mark.numerics
def test_lists_and_threads(detectors):
    """Pictures that are of one size only after padding, alone, in a list and in threads."""
    detector = detectors["onnx"]
    images = [scene(seed, 200 + seed, 300 - seed) for seed in range(4)]
    alone = [detector(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for found in (detector(images), list(pool.map(detector, images))):
            for faces, expected in zip(found, alone, strict=True):
                assert_same_detections(faces, expected, at_least=0)


def test_what_a_detector_tells_of_itself(detectors):
    for name, detector in detectors.items():
        assert isinstance(detector, FaceDetector)
        assert detector.runtime == name
        assert detector.device == torch.device("cpu")
        assert detector.device_type == "cpu"
        assert detector.dtype == torch.float32
        assert detector.cfg.MODEL.DEVICE == "cpu"
    assert isinstance(detectors["torch"].model, torch.nn.Module)
    assert detectors["torch"].metadata is None
    with pytest.raises(RuntimeError, match='runtime="torch"'):
        detectors["onnx"].model  # noqa: B018
    rules = ("score_threshold", "nms_threshold", "max_faces", "max_pixels", "view_policy")
    ours, theirs = ([getattr(d, rule) for rule in rules] for d in detectors.values())
    assert ours == theirs
    metadata = detectors["onnx"].metadata
    assert metadata.model == "lite"
    copy = pickle.loads(pickle.dumps(detectors["onnx"]))
    assert copy.runtime == "onnx"
    assert copy.metadata == metadata


# --- the choice ----------------------------------------------------------------------------------


@pytest.fixture
def chosen(monkeypatch):
    """``chosen(options)``: the runtime of a detector, whose network in PyTorch is not built."""

    class NotBuilt(Exception):
        pass

    def not_built(*_):
        raise NotBuilt

    monkeypatch.setattr(FaceDetector, "_load_predictor", not_built)

    def choose(**options):
        try:
            return FaceDetector(**options).runtime
        except NotBuilt:
            return "torch"

    return choose


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "onnx"),
        ({"device": torch.device("cpu"), "size": 300}, "onnx"),
        ({"min_face_size": 20, "large_faces": False, "threads": 1}, "onnx"),
        ({"runtime": "torch"}, "torch"),
        ({"dtype": "bfloat16"}, "torch"),
        ({"multi_scale": True}, "torch"),
        ({"size": "config"}, "torch"),
        ({"device": "cuda"}, "torch"),
        ({"config_file": "config.yaml"}, "torch"),
    ],
)
def test_auto_is_onnx_runtime_where_it_can(chosen, options, expected):
    assert chosen(**{"device": "cpu"} | options) == expected


def test_auto_takes_a_gpu_if_there_is_one(chosen, monkeypatch):
    for has_cuda, expected in ((True, "torch"), (False, "onnx")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_cuda=has_cuda: has_cuda)
        assert chosen() == expected
        assert chosen(device="cpu") == chosen(runtime="onnx") == "onnx"


def test_without_onnxruntime(chosen, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert chosen() == "torch"
    monkeypatch.setattr(onnx_choice, "has_onnxruntime", lambda: True)  # installed, but broken
    assert chosen(device="cpu") == "torch"
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        chosen(runtime="onnx")


def test_ctrl_c_while_onnxruntime_is_imported_is_no_lack_of_it(chosen, monkeypatch, tmp_path):
    """Its extension module makes an ImportError of it, after which PyTorch would be taken."""
    (tmp_path / "onnxruntime.py").write_text(
        "raise ImportError('initialization failed') from KeyboardInterrupt()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    with pytest.raises(KeyboardInterrupt):
        chosen()


INTERRUPTED_IMPORT = """
import signal, sys

# What a script starts in the background ignores it, and so would what these tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy.version":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
from srn_d2.inference.onnx_session import import_onnxruntime
import_onnxruntime()
"""


def test_ctrl_c_while_onnxruntime_would_import_numpy():
    """Onnxruntime makes an ImportError of it that does not tell its cause."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_IMPORT], capture_output=True, text=True, check=False
    )
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert "ImportError" not in done.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"config_file": "config.yaml"}, "not a config_file or weights: export yours"),
        ({"weights": "model.pth"}, "not a config_file or weights: export yours"),
        ({"device": "cuda:1"}, "device is 'cuda:1'"),
        ({"dtype": "bfloat16"}, "dtype is 'bfloat16'"),
        ({"multi_scale": True}, "multi_scale is True"),
        ({"size": "config"}, "size is 'config'"),
    ],
)
def test_why_onnx_runtime_cannot_be_used_is_told(options, reason):
    with pytest.raises(
        ValueError, match=f"runtime 'onnx', ONNX Runtime, cannot be used: .*{reason}"
    ):
        FaceDetector(runtime="onnx", **options)


def test_a_runtime_that_is_none_is_named():
    with pytest.raises(ValueError, match=r"'tpu'; valid are \['auto', 'onnx', 'torch'\]"):
        FaceDetector(runtime="tpu")


# --- without torch -------------------------------------------------------------------------------


def test_drivers_and_variables_tell_where_there_may_be_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "_CUDA_LIBRARIES", {})
    assert not may_have_gpu({}, tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "nvidiactl").touch()
    assert may_have_gpu({}, tmp_path)
    assert may_have_gpu({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path)
    assert not may_have_gpu({"CUDA_VISIBLE_DEVICES": ""}, tmp_path)
    assert not may_have_gpu({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path)


def test_omp_num_threads_limits_onnx_runtime():
    assert onnx_threads({"OMP_NUM_THREADS": "3"}) == 3
    assert onnx_threads({"OMP_NUM_THREADS": "many"}) == onnx_threads({})


WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "detectron2", "fvcore", "timm"):
    sys.modules[name] = None  # importing it fails
from srn_d2.cli import main
sys.exit(main(["detect", sys.argv[1], "--device", "cpu", "--output", sys.argv[2]]))
"""


def test_the_command_needs_neither_torch_nor_detectron2(tmp_path):
    import matplotlib.cbook

    photo = str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))
    command = [sys.executable, "-c", WITHOUT_TORCH, photo, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"score"' in (tmp_path / "out" / "faces.json").read_text()
