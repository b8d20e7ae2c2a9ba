"""The detector on ONNX Runtime: without torch, with FaceDetector's results, with its own errors."""

import functools
import json
import multiprocessing
import pickle
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from PIL import Image
from torchvision.ops import nms as torchvision_nms

from helpers.detections import assert_best_first, assert_same_detections
from srn_d2 import FaceDetector, InvalidImageError
from srn_d2.data.image_io import EXIF_ORIENTATION
from srn_d2.export.array_postprocessing import choose_detections
from srn_d2.export.metadata import ExportMetadata
from srn_d2.export.onnx_predictor import OnnxFaceDetector
from srn_d2.inference.merging import nms
from srn_d2.inference.tiles import padded_pixels
from srn_d2.modeling.postprocessing import PaperPostprocessing, ReleasedPostprocessing

WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "detectron2", "fvcore"):
    sys.modules[name] = None  # importing it fails
from srn_d2.export.onnx_predictor import OnnxFaceDetector
detector = OnnxFaceDetector(sys.argv[1], size=300)
print(detector(sys.argv[2]).to_json())
"""


@pytest.fixture(scope="module")
def pytorch():
    return FaceDetector(runtime="torch", device="cpu")


@pytest.fixture(scope="module")
def detector(lite_files):
    return OnnxFaceDetector(lite_files[True], threads=1)


assert_same = functools.partial(assert_same_detections, box_tolerance=0.05, score_tolerance=1e-3)


def test_it_runs_without_torch(lite_files, grace_hopper):
    command = [sys.executable, "-c", WITHOUT_TORCH, str(lite_files[True]), grace_hopper]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = FaceDetector(runtime="torch", device="cpu", size=300)(grace_hopper).to_dict()
    found = json.loads(result.stdout)
    found, expected = (
        [[*face["bbox"], face["score"]] for face in record["faces"]] for record in (found, expected)
    )
    assert_same_detections(
        np.array(found), np.array(expected), box_tolerance=0.06, score_tolerance=1e-3
    )
    assert_best_first(np.array(found))


@pytest.mark.parametrize("nms", [True, False])
def test_results_are_those_of_pytorch(lite_files, pytorch, photograph, grace_hopper, nms):
    detector = OnnxFaceDetector(lite_files[nms])
    expected = pytorch(grace_hopper)
    assert_same(detector(grace_hopper), expected)
    half = photograph[:333, :401]
    for faces, same in zip(
        detector([half, photograph, half[:, ::-1]]),
        pytorch([half, photograph, half[:, ::-1]]),
        strict=True,
    ):
        assert_same(faces, same)


@pytest.mark.parametrize(
    "options", [{"size": 900}, {"size": 900, "large_faces": False}, {"min_face_size": 20}]
)
def test_sizes_and_the_second_pass_are_those_of_pytorch(lite_files, photograph, options):
    found = OnnxFaceDetector(lite_files[True], score_threshold=0.1, **options)(photograph)
    assert_same(
        found,
        FaceDetector(runtime="torch", device="cpu", score_threshold=0.1, **options)(photograph),
    )


@pytest.mark.slow
def test_large_images_are_done_in_tiles_as_by_pytorch(lite_files, photograph):
    """Nine small portraits, each darker than the last; the seams go through some of them."""
    pytorch = FaceDetector(runtime="torch", device="cpu", large_faces=False)
    small = photograph[::2, ::2]
    shades = [(small * (1 - 0.05 * number)).astype(np.uint8) for number in range(9)]
    image = np.vstack([np.hstack(shades[row : row + 3]) for row in (0, 3, 6)])
    expected = pytorch(image)
    pytorch._predictor.max_tile_pixels = 512 * 512
    expected_of_tiles = pytorch(image)
    for path in lite_files.values():
        detector = OnnxFaceDetector(path, large_faces=False)
        assert_same(detector(image), expected)
        detector.network.max_tile_pixels = 512 * 512
        seen = watch_sizes(detector.network)
        found = detector(image)
        assert_same(found, expected_of_tiles)
        assert len(found) == len(expected)
        assert len(seen) > 2
        assert max(padded_pixels(*size) for size in seen) <= 512 * 512


def watch_sizes(network):
    """A list to which the size (H, W) of each batch that ONNX Runtime gets is added."""
    seen, run = [], network.run
    network.run = lambda images, score: seen.append(images.shape[1:3]) or run(images, score)
    return seen


def test_all_kinds_of_pictures(detector, photograph, grace_hopper, tmp_path):
    expected = detector(photograph)
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(np.rot90(photograph)).save(tmp_path / "turned.png", exif=exif)
    tensor = torch.from_numpy(photograph.transpose(2, 0, 1).copy())
    images = [grace_hopper, Image.open(grace_hopper), tmp_path / "turned.png", tensor]
    for faces in detector(images):
        assert faces.image_size == expected.image_size
        assert_same(faces, expected)


def test_bad_pictures_raise_or_stand_in_the_list(detector, photograph, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(InvalidImageError, match=r"text\.jpg"):
        detector(tmp_path / "text.jpg")
    images = [tmp_path / "text.jpg", photograph, tmp_path / "absent.jpg", np.zeros((0, 5, 3))]
    error, faces, absent, empty = detector(images, errors="return")
    assert isinstance(error, InvalidImageError)
    assert len(faces) > 0
    assert isinstance(absent, FileNotFoundError)
    assert isinstance(empty, InvalidImageError)
    assert detector([]) == []


def test_max_pixels_and_empty_results(lite_files, photograph):
    detector = OnnxFaceDetector(lite_files[False], max_pixels=100 * 100)
    with pytest.raises(InvalidImageError, match="limit"):
        detector(photograph)
    assert len(detector(np.zeros((40, 50, 3), dtype=np.uint8))) == 0


def test_files_that_cannot_be_used_are_named(lite_files, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    foreign = onnx.load(lite_files[False])
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(FileNotFoundError, match=r"absent\.onnx"):
        OnnxFaceDetector(tmp_path / "absent.onnx")
    with pytest.raises(ValueError, match=r"text\.onnx cannot be loaded"):
        OnnxFaceDetector(tmp_path / "text.onnx")
    with pytest.raises(ValueError, match=r"foreign\.onnx cannot be used.*srn-d2 export"):
        OnnxFaceDetector(tmp_path / "foreign.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 0.01}, "exported with 0.05"),
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"size": 0}, "size"),
        ({"size": 100, "min_face_size": 8}, "min_face_size"),
        ({"max_pixels": 0}, "max_pixels"),
        ({"providers": ["NoProvider"]}, "NoProvider"),
    ],
)
def test_wrong_arguments_are_named(lite_files, options, message):
    with pytest.raises(ValueError, match=message):
        OnnxFaceDetector(lite_files[True], **options)


def test_an_absent_onnxruntime_is_named(lite_files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="pip install onnxruntime"):
        OnnxFaceDetector(lite_files[True])


# --- post-processing ----------------------------------------------------------------------------


def random_boxes(rng, number):
    corners = rng.uniform(0, 100, (number, 2))
    sides = rng.uniform(5, 40, (number, 2))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


@pytest.mark.parametrize("threshold", [0.3, 0.4, 0.5])
def test_nms_is_torchvision_s(threshold):
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng, 300)
    scores = rng.integers(0, 50, 300).astype(np.float32) / 50  # with ties
    kept = nms(boxes, scores, threshold)
    expected = torchvision_nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    np.testing.assert_array_equal(kept, expected.numpy())
    assert 10 < len(kept) < 290


def test_nms_of_nothing():
    kept = nms(np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.float32), 0.5)
    assert kept.shape == (0,)
    assert kept.dtype == np.int64


@pytest.mark.parametrize(
    ("voting_ious", "size_exponent"), [((), 0.0), ((0.4, 0.7), 0.0), ((), 0.5), ((0.4, 0.7), 0.5)]
)
@pytest.mark.parametrize("kind", [PaperPostprocessing, ReleasedPostprocessing])
def test_detections_are_chosen_as_by_the_model(kind, voting_ious, size_exponent):
    rules = kind(
        Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
        score_threshold=0.3,
        topk_candidates=150,
        nms_threshold=0.4,
        max_detections=60,
        voting_ious=voting_ious,
        size_exponent=size_exponent,
    )
    # Levels of 16 x 20, 8 x 10, 4 x 5 .. 1 x 1 cells: all but the first have few.
    strides = (4, 8, 16, 32, 64, 128)
    cells = [16 * 20, 8 * 10, 4 * 5, 2 * 3, 1 * 2, 1]
    rng = np.random.default_rng(1)
    boxes = random_boxes(rng, 2 * sum(cells))
    scores = rng.uniform(0, 1, len(boxes)).astype(np.float32)
    zeros = torch.zeros(len(boxes), 4)
    expected = rules(torch.from_numpy(scores), zeros, torch.from_numpy(boxes), cells, (64, 80))
    metadata = SimpleNamespace(
        postprocessing="paper" if kind is PaperPostprocessing else "released",
        score_threshold=0.3,
        topk_candidates=150,
        nms_threshold=0.4,
        max_detections=60,
        few_cells=120,
        size_divisibility=1,
        strides=strides,
        voting_ious=voting_ious,
        size_exponent=size_exponent,
        size_reference=16.0,
        size_limits=(8.0, 48.0),
    )
    found_boxes, found_scores = choose_detections(boxes, scores, (64, 80), metadata)
    # Of a power NumPy and PyTorch may differ in the last bit.
    rtol = 1e-6 if size_exponent else 0
    np.testing.assert_allclose(found_scores, expected.scores.numpy(), rtol=rtol)
    np.testing.assert_allclose(found_boxes, expected.pred_boxes.tensor, rtol=0, atol=1e-3)
    assert len(found_boxes) == 60
    # A higher threshold leaves fewer of the same detections.
    limit = float(found_scores[20])
    better = choose_detections(boxes, scores, (64, 80), metadata, min_score=limit)
    np.testing.assert_array_equal(better[0], found_boxes[:21])


def test_metadata_survive_and_gaps_are_named(lite):
    metadata = lite.metadata(nms=True, score_threshold=0.1)
    properties = metadata.to_properties()
    assert ExportMetadata.from_properties(properties) == metadata
    added = {"voting_ious": (), "size_exponent": 0.0, "candidates_only": False}
    older = {name: value for name, value in properties.items() if name not in added}
    assert ExportMetadata.from_properties(older) == replace(metadata, **added)
    del properties["strides"]
    with pytest.raises(ValueError, match="strides"):
        ExportMetadata.from_properties(properties)


def test_it_can_be_pickled_and_forked(lite_files, photograph):
    detector = OnnxFaceDetector(
        lite_files[True], threads=2, size=300, providers=[("CPUExecutionProvider", {})]
    )
    expected = detector(photograph).to_dict()
    assert pickle.loads(pickle.dumps(detector))(photograph).to_dict() == expected
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=lambda: theirs.send(detector(photograph).to_dict()))
    process.start()
    try:
        assert ours.poll(120), "the forked process hangs"
        assert ours.recv() == expected
    finally:
        process.kill()
        process.join()


@pytest.mark.parametrize(
    ("providers", "message"),
    [
        ("TPU", "has no TPU, only"),
        ([("TPU", {})], "has no TPU, only"),
        ([("CPUExecutionProvider",)], "each is a name"),
        ([("CPUExecutionProvider", "fast")], "each is a name"),
        ([3], "each is a name"),
    ],
)
def test_providers_that_are_none_are_named(lite_files, providers, message):
    with pytest.raises(ValueError, match=message):
        OnnxFaceDetector(lite_files[True], providers=providers)


def test_a_single_provider_is_a_name(lite_files):
    session = OnnxFaceDetector(lite_files[True], providers="CPUExecutionProvider").session
    assert session.get_providers() == ["CPUExecutionProvider"]
