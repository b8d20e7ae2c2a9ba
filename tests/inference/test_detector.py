"""FaceDetector: kinds of input, sizes, batches, threads, memory, large faces, arguments."""

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.postprocessing import detector_postprocess
from PIL import Image
from torch import nn

from helpers.blob_detector import BlobDetector, picture
from helpers.detections import assert_same_detections
from helpers.small_network import SMALL
from srn_d2 import FaceDetector, Faces, InvalidImageError
from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.config import build_cfg
from srn_d2.data.image_io import (
    EXIF_ORIENTATION,
    ImageTypeError,
    NotAnImageError,
    TooManyPixelsError,
)
from srn_d2.engine import SRNTrainer

MAX_DETECTIONS = 20


def save_model(cfg, folder):
    """Files of a config and of random weights, as a training leaves them."""
    torch.manual_seed(0)
    SRNCheckpointer(SRNTrainer.build_model(cfg), str(folder)).save("model_final")
    (folder / "config.yaml").write_text(cfg.dump())
    return {"config_file": folder / "config.yaml", "weights": folder / "model_final.pth"}


@pytest.fixture(scope="module")
def files(repo_root, tmp_path_factory):
    config = str(repo_root / "configs" / "srn_R18.yaml")
    cfg = build_cfg(
        config, [*SMALL, "MODEL.DEVICE", "cpu", "TEST.DETECTIONS_PER_IMAGE", MAX_DETECTIONS]
    )
    return save_model(cfg, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def make(files):
    """Make a detector of the random weights, on the CPU, with all scores: ``make(size=64)``."""

    def make_detector(**options):
        return FaceDetector(**{**files, "device": "cpu", "score_threshold": 0.0} | options)

    return make_detector


@pytest.fixture(scope="module")
def detector(make):
    return make()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def watch(detector):
    """A list to which the shapes (h, w) of each batch that the network sees are added."""
    seen = []
    detector._predictor.single_scale_model.register_forward_pre_hook(
        lambda _, inputs: seen.append([tuple(x["image"].shape[1:]) for x in inputs[0]])
    )
    return seen


assert_same = functools.partial(
    assert_same_detections, box_tolerance=1e-3, score_tolerance=1e-6, max_detections=MAX_DETECTIONS
)


# --- input -----------------------------------------------------------------------------------


@pytest.mark.numerics
def test_every_kind_of_image_gives_the_same_faces(detector, tmp_path):
    image = noise(70, 110)
    Image.fromarray(image).save(tmp_path / "a.png")
    expected = detector(image)
    assert isinstance(expected, Faces)
    assert 0 < len(expected) <= 20
    assert expected.image_size == (70, 110)
    assert (np.diff(expected.scores) <= 0).all()
    assert expected.boxes.min() >= 0
    assert expected.boxes[:, 2].max() <= 110
    assert expected.boxes[:, 3].max() <= 70
    path = tmp_path / "a.png"
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    for same in (path, str(path), Image.fromarray(image), tensor):
        assert_same(detector(same), expected)
    for faces in detector((path, tensor)):
        assert_same(faces, expected)


def test_a_grey_image_is_one_of_three_equal_channels(detector):
    grey = noise(64, 64)[:, :, 0]
    assert_same(detector(grey), detector(np.stack([grey] * 3, axis=2)))


def test_boxes_are_those_of_the_upright_picture(detector, tmp_path):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(noise(64, 96)).save(tmp_path / "a.png", exif=exif)
    faces = detector(tmp_path / "a.png")
    assert faces.image_size == (96, 64)
    assert_same(faces, detector(np.rot90(noise(64, 96), -1)))


def test_bad_images_raise_or_stand_in_the_list(detector, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    good, text, absent = noise(64, 64), tmp_path / "text.jpg", tmp_path / "absent.jpg"
    floats = noise(8, 8) / 255
    with pytest.raises(NotAnImageError, match=r"text\.jpg"):
        detector(text)
    with pytest.raises(InvalidImageError, match=r"text\.jpg"):
        detector([good, text])
    results = detector([text, good, absent, floats, good], errors="return")
    kinds = [NotAnImageError, Faces, FileNotFoundError, ImageTypeError, Faces]
    assert [type(result) for result in results] == kinds
    assert_same(results[1], detector(good))
    assert_same(results[4], results[1])
    assert isinstance(detector(text, errors="return"), NotAnImageError)
    with pytest.raises(ValueError, match="errors"):
        detector(good, errors="ignore")


def test_no_images_no_results(detector):
    assert detector([]) == []


# --- batches -----------------------------------------------------------------------------------


@pytest.mark.numerics
def test_faces_do_not_depend_on_the_batch(make):
    detector = make()
    sizes = [(70, 110), (65, 100), (40, 40), (96, 128), (128, 96), (33, 64), (64, 64), (70, 110)]
    images = [noise(*size, seed) for seed, size in enumerate(sizes)] * 2
    alone = [detector(image) for image in images[: len(sizes)]] * 2
    seen = watch(detector)
    for faces, expected in zip(detector(images), alone, strict=True):
        assert_same(faces, expected)
    # A chunk has 8 images: those of 96 x 128 after padding, of 64 x 64, of 128 x 96.
    assert [len(batch) for batch in seen] == [4, 3, 1] * 2


def test_batches_are_small_enough(make, monkeypatch):
    detector = make()
    seen = watch(detector)
    monkeypatch.setattr("srn_d2.inference.views.MAX_BATCH_PIXELS", 3 * 64 * 64)
    assert len(detector([noise(64, 64)] * 7)) == 7
    assert [len(batch) for batch in seen] == [3, 3, 1]


# --- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({}, (60, 100)),
        ({"size": "original"}, (60, 100)),
        ({"size": 50}, (30, 50)),
        ({"size": np.int64(50)}, (30, 50)),
        ({"size": 200}, (120, 200)),
        ({"min_face_size": 16}, (30, 50)),  # the smallest anchor has 8 pixels
        ({"min_face_size": 4}, (120, 200)),
        ({"min_face_size": 1000}, (1, 1)),
    ],
)
def test_what_the_network_sees(make, options, shape):
    detector = make(**options)
    seen = watch(detector)
    faces = detector(noise(60, 100))
    assert seen == [[shape]]
    assert faces.image_size == (60, 100)
    assert faces.boxes[:, 2].max() <= 100


def test_boxes_of_a_resized_image_are_in_pixels_of_the_original(make):
    faces = make(size=220)(noise(70, 110))
    assert faces.boxes[:, 2].max() > 60
    assert faces.boxes[:, 2].max() <= 110
    assert faces.boxes[:, 3].max() <= 70


def test_the_size_of_the_config(files, make):
    cfg = build_cfg(str(files["config_file"]), ["INPUT.MIN_SIZE_TEST", 32])
    detector = make(config_file=cfg, size="config")
    seen = watch(detector)
    detector(noise(64, 128))
    assert seen == [[(32, 64)]]


def test_too_many_pixels_before_and_after_enlarging(make):
    with pytest.raises(TooManyPixelsError):
        make(max_pixels=4095)(noise(64, 64))
    enlarging = make(max_pixels=10_000, size=128)
    with pytest.raises(TooManyPixelsError, match="128 x 128"):
        enlarging(noise(64, 64))


# --- large faces ---------------------------------------------------------------------------------


@META_ARCH_REGISTRY.register()
class SizeLimitedBlobs(nn.Module):
    """Finds bright rectangles of up to a certain size, as a network with anchors does."""

    largest = 500.0

    def __init__(self, cfg):
        super().__init__()
        self.blobs = BlobDetector()
        self.weight = nn.Parameter(torch.zeros(1))
        self.backbone = SimpleNamespace(size_divisibility=32)

    def forward(self, batched_inputs):
        outputs = []
        for x in batched_inputs:
            found = self.blobs.detect(x["image"])
            found = found[found.pred_boxes.area().sqrt() <= self.largest]
            found = detector_postprocess(found, x["height"], x["width"])
            outputs.append({"instances": found})
        return outputs


@pytest.fixture(scope="module")
def blob_files(files, tmp_path_factory):
    cfg = build_cfg(str(files["config_file"]), ["MODEL.META_ARCHITECTURE", "SizeLimitedBlobs"])
    return save_model(cfg, tmp_path_factory.mktemp("blobs"))


LARGE, MIDDLE, SMALL_BLOB = [500, 50, 1800, 1400], [60, 60, 360, 360], [80, 700, 230, 850]
BLOBS = picture((1500, 2000), [LARGE, MIDDLE, SMALL_BLOB], [220, 200, 180])


EDGE = 12
"""Pixels of the image that are two in the further pass over it."""


def rows(faces):
    return sorted(faces.boxes.round().tolist())


@pytest.mark.parametrize(
    ("options", "largest", "expected"),
    [
        ({}, 500, [LARGE, MIDDLE, SMALL_BLOB]),
        ({"large_faces": False}, 500, [MIDDLE, SMALL_BLOB]),
        # Blind for more than 100 pixels: only the further pass finds these; the smaller one is
        # none of those that it is for.
        ({}, 100, [MIDDLE]),
        # Seen at half the size first: 301 pixels are 151 then, and too few for the further pass.
        ({"size": 1000}, 100, [SMALL_BLOB]),
    ],
)
def test_a_further_pass_finds_large_faces(
    make, blob_files, monkeypatch, options, largest, expected
):
    monkeypatch.setattr(SizeLimitedBlobs, "largest", largest)
    faces = make(**blob_files, **options)(BLOBS)
    assert len(faces) == len(expected)
    np.testing.assert_allclose(rows(faces), sorted(expected), atol=EDGE)


def test_images_with_room_for_large_faces_get_further_passes(make, blob_files):
    detector = make(**blob_files)
    seen = watch(detector)
    detector(BLOBS[:, :724, :362])  # a face that fills it has 405 pixels, sqrt(2) times 286
    assert seen == [[(724, 362)]]
    detector(BLOBS[:, :724, :363])
    assert seen[1:] == [[(724, 363)], [(255, 128)]]
    detector(np.zeros((3000, 3000, 3), np.uint8))
    assert seen[3:] == [[(3000, 3000)], [(500, 500)], [(160, 160)]]


def test_the_further_pass_of_multi_scale_testing_is_a_single_one(make, blob_files):
    cfg = build_cfg(str(blob_files["config_file"]), ["TEST.SRN_TTA.SCALES", (0.5,)])
    detector = make(**blob_files | {"config_file": cfg}, multi_scale=True)
    seen = watch(detector)
    faces = detector(BLOBS)
    assert seen == [[(750, 1000)], [(750, 1000)], [(250, 333)]]  # half the size, mirrored, further
    np.testing.assert_allclose(rows(faces), sorted([LARGE, MIDDLE, SMALL_BLOB]), atol=EDGE)


def test_scores_sort_what_two_passes_found(make, blob_files):
    faces = make(**blob_files, score_threshold=190 / 255)(BLOBS)
    np.testing.assert_allclose(faces.scores, [220 / 255, 200 / 255], atol=1e-3)
    np.testing.assert_allclose(faces.boxes[0], LARGE, atol=EDGE)


# --- other options -------------------------------------------------------------------------------


@pytest.mark.numerics
def test_the_score_threshold(make, detector):
    scores = detector(noise(64, 96)).scores
    middle = float(scores[len(scores) // 2])
    faces = make(score_threshold=middle)(noise(64, 96))
    assert len(faces) == (scores >= np.float32(middle)).sum() < len(scores)
    assert len(make(score_threshold=1.0)(noise(64, 96))) == 0


def test_bfloat16_is_nearly_the_same(make, detector):
    image = noise(64, 96)
    exact, rough = detector(image), make(dtype="bfloat16")(image)
    assert rough.scores.dtype == np.float32
    assert (rough.scores[:5] != exact.scores[:5]).any()
    np.testing.assert_allclose(rough.scores[:5], exact.scores[:5], rtol=0.1)


def test_bfloat16_of_another_architecture_is_refused(make, blob_files):
    with pytest.raises(ValueError, match=r"'bfloat16' is for .* SRN only, not 'SizeLimitedBlobs'"):
        make(**blob_files, dtype="bfloat16")


def test_the_dtype_is_the_arguments_and_not_the_configs(files, make, detector):
    cfg = build_cfg(str(files["config_file"]), ["TEST.BFLOAT16", True, "SOLVER.CPU_BFLOAT16", True])
    assert_same(make(config_file=cfg)(noise(64, 96)), detector(noise(64, 96)))


def test_multi_scale_looks_at_several_sizes(files, make):
    cfg = build_cfg(str(files["config_file"]), ["TEST.SRN_TTA.SCALES", (0.5, 1.0)])
    detector = make(config_file=cfg, multi_scale=True)
    sizes = []
    preprocess = detector._predictor.single_scale_model.preprocess_image

    def note(inputs):
        sizes.append(tuple(inputs[0]["image"].shape[1:]))
        return preprocess(inputs)

    detector._predictor.single_scale_model.preprocess_image = note
    faces = detector(noise(64, 96))
    assert sizes == [(32, 48)] * 2 + [(64, 96)] * 2
    assert faces.image_size == (64, 96)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"size": 0}, "size"),
        ({"size": True}, "size"),
        ({"size": "large"}, "size"),
        ({"size": 100, "min_face_size": 8}, "min_face_size"),
        ({"min_face_size": 0}, "min_face_size"),
        ({"dtype": "float16"}, "dtype"),
        ({"max_pixels": 0}, "max_pixels"),
        ({"config_file": None}, "weights"),
    ],
)
def test_wrong_arguments_are_named(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_an_absent_gpu_and_an_absent_model_are_named(make):
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="device is 'cuda:1' but torch finds no CUDA"):
            make(device="cuda:1")
    with pytest.raises(FileNotFoundError, match="heavy"):
        FaceDetector("heavy")


def test_a_gpu_beyond_the_last_one_is_named(make, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(RuntimeError, match="cuda:2"):
        make(device="cuda:2")


def test_the_device_is_chosen(make):
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert make(device="auto").device.type == expected


# --- threads and memory --------------------------------------------------------------------------


@pytest.mark.numerics
def test_threads_share_a_detector(detector):
    images = [noise(64 + 8 * i, 96, i) for i in range(6)]
    expected = [detector(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector, images * 4))
    for faces, wanted in zip(found, expected * 4, strict=True):
        assert_same(faces, wanted)


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="no /proc/self/statm: run on Linux"
)
@pytest.mark.slow
def test_memory_stays_flat_over_images_of_many_sizes(detector):
    """All 200 have 7 MB together, their first feature maps more."""
    rng = np.random.default_rng(0)

    def detect(number):
        for _ in range(number):
            detector(noise(*rng.integers(60, 161, 2)))

    detect(50)  # allocators and kernels settle
    before = resident_megabytes()
    detect(200)
    assert resident_megabytes() - before < 5


def resident_megabytes():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# --- the model that comes with the package -----------------------------------------------------


def test_the_shipped_model_is_surest_of_the_face_in_a_portrait():
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "sample_data"
    face = next(iter(FaceDetector(device="cpu")(folder / "grace_hopper.jpg")))
    assert 100 < face.width < 250
    centre = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
    assert centre == pytest.approx((268, 230), abs=40)


# --- tiles ---------------------------------------------------------------------------------------


def test_an_image_of_many_pixels_is_seen_in_tiles(make, blob_files):
    detector = make(**blob_files)
    detector._predictor.max_tile_pixels = 1024 * 1024
    detector._predictor.max_tile_face = 320.0
    seen = watch(detector)
    faces = detector(BLOBS)  # the largest face is found in the further pass, which is no larger
    assert len(seen) > 2
    assert max(height * width for [(height, width)] in seen) <= 1024 * 1024
    assert len(faces) == 3
    np.testing.assert_allclose(rows(faces), sorted([LARGE, MIDDLE, SMALL_BLOB]), atol=EDGE)
