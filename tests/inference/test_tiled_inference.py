"""Detection in tiles, by detectors that find no memory for larger images."""

import functools
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.blob_detector import BlobDetector, picture, scattered_boxes
from helpers.detections import assert_best_first
from srn_d2.inference.merging import merge_by_nms
from srn_d2.inference.tiled_inference import detect_within_memory, is_out_of_memory
from srn_d2.inference.tiles import SMALLEST_CUT_SIDE, padded_pixels

nms = functools.partial(merge_by_nms, threshold=0.5, max_detections=1000)


def pixels_of(size, boxes):
    """As ``picture``, (H, W, 3)."""
    return picture(size, boxes).permute(1, 2, 0).numpy()


def detect(detector, image, max_face=None, max_pixels=None):
    return detect_within_memory(
        detector.in_pixels,
        image,
        merge=nms,
        max_face=max_face,
        name="the picture",
        max_pixels=max_pixels,
    )


def boxes_of(found):
    return sorted(found.boxes.tolist())


@pytest.mark.parametrize("max_face", [60, None])
@pytest.mark.parametrize("max_pixels", [1_000_000, 500_000, 300_000])
def test_tiles_find_what_the_whole_image_shows_each_once(max_face, max_pixels, caplog):
    """Tiles, and tiles of tiles; no face is lost, cut, or found twice, wherever it lies."""
    image = pixels_of((1200, 1500), scattered_boxes((1200, 1500), 150, 60))
    detector = BlobDetector(max_pixels)
    found = detect(detector, image, max_face)
    assert boxes_of(found) == boxes_of(BlobDetector().in_pixels(image))
    assert "Out of memory for the picture, 1500 x 1200 pixels: doing it in 4 tiles" in caplog.text
    sizes = [height * width for height, width in detector.sizes]
    assert min(sizes) <= max_pixels
    assert caplog.text.count("Out of memory") == sum(size > max_pixels for size in sizes) > 0


@pytest.mark.parametrize("max_face", [60, 300, None])
@pytest.mark.parametrize("max_pixels", [800_000, SMALLEST_CUT_SIDE**2])
@pytest.mark.parametrize("size", [(1201, 1499), (333, 2603), (2001, 509)])
def test_tiles_of_at_most_so_many_pixels_find_the_same(size, max_pixels, max_face, caplog):
    image = pixels_of(size, scattered_boxes(size, 100, 60))
    detector = BlobDetector()
    with caplog.at_level(logging.INFO):
        found = detect(detector, image, max_face, max_pixels)
    assert boxes_of(found) == boxes_of(BlobDetector().in_pixels(image))
    assert len(detector.sizes) > 1
    assert max(padded_pixels(*tile) for tile in detector.sizes) <= max_pixels
    assert {record.levelname for record in caplog.records} == {"INFO"}
    assert f"in the picture, {size[1]} x {size[0]} pixels: doing it in" in caplog.text


def test_a_tile_of_so_many_pixels_that_runs_out_of_memory_is_cut_again(caplog):
    image = pixels_of((1200, 1500), scattered_boxes((1200, 1500), 150, 60))
    detector = BlobDetector(300_000)
    found = detect(detector, image, 60, max_pixels=700_000)
    assert boxes_of(found) == boxes_of(BlobDetector().in_pixels(image))
    assert 300_000 < max(height * width for height, width in detector.sizes) <= 700_000
    assert "Out of memory for the picture" in caplog.text


@settings(max_examples=40, deadline=None)
@given(
    st.integers(4, 1400), st.integers(513, 1400), st.integers(0, 1000), st.sampled_from([40, None])
)
def test_any_image_in_tiles_has_what_the_whole_image_has(height, width, seed, max_face):
    """Boxes, scores and their order, for tiles by size and for tiles by memory."""
    size = (height, width)
    number = 20 if height > 200 else 1
    image = pixels_of(size, scattered_boxes(size, number, min(height, 40), seed))
    whole = BlobDetector().in_pixels(image)
    cases = (BlobDetector(), SMALLEST_CUT_SIDE**2), (BlobDetector(400_000), None)
    for detector, max_pixels in cases:
        found = detect(detector, image, max_face, max_pixels)
        assert boxes_of(found) == boxes_of(whole)
        assert_best_first(found)
        assert sorted(found.scores) == sorted(whole.scores)
        assert found.labels.tolist() == [0] * len(whole.labels)


def test_the_limit_of_pixels_is_that_of_the_padded_image():
    for size, whole in (((512, 640), True), ((511, 639), True), ((512, 641), False)):
        detector = BlobDetector()
        detect(detector, np.zeros((*size, 3), dtype=np.uint8), max_pixels=512 * 640)
        assert (detector.sizes == [size]) == whole


def test_a_limit_below_what_can_be_cut_is_refused():
    with pytest.raises(ValueError, match="max_pixels is 262143"):
        detect(BlobDetector(), np.zeros((8, 8, 3), dtype=np.uint8), max_pixels=512**2 - 1)


def test_nothing_is_cut_nor_logged_where_memory_suffices(caplog):
    detector = BlobDetector()
    image = pixels_of((600, 700), [[10, 10, 30, 30]])
    with caplog.at_level(logging.INFO):
        assert boxes_of(detect(detector, image)) == [[10, 10, 30, 30]]
    assert detector.sizes == [(600, 700)]
    assert not caplog.records


def test_a_face_larger_than_the_overlap_is_found_in_part_and_the_log_says_so(caplog):
    image = pixels_of((300, 1000), [[100, 50, 899, 249]])
    found = detect(BlobDetector(250_000), image, max_face=50)
    assert len(found.boxes) > 0
    assert "in 2 tiles of up to 616 x 300 pixels" in caplog.text
    assert "in part" not in caplog.text  # only faces of up to 50 pixels were asked for
    caplog.clear()
    detect(BlobDetector(250_000), image)
    assert "faces larger than 250 pixels may be found in part only" in caplog.text


def test_an_image_too_small_to_be_cut_raises_the_detectors_error():
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        detect(BlobDetector(1000), np.zeros((400, 300, 3), dtype=np.uint8))
    detector = BlobDetector(10)
    with pytest.raises(torch.OutOfMemoryError):
        detect(detector, np.zeros((2000, 2000, 3), dtype=np.uint8))
    assert min(detector.sizes) < (512, 512)


def test_other_errors_are_not_retried():
    calls = []

    def fail(image):
        calls.append(image.shape)
        raise RuntimeError("expected 3 channels")

    with pytest.raises(RuntimeError, match="3 channels"):
        detect_within_memory(
            fail, np.zeros((2000, 2000, 3)), merge=nms, max_face=None, name="the picture"
        )
    assert len(calls) == 1


def test_it_knows_what_a_full_memory_raises():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)  # 32 PiB
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"))
    for message in (
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "GET was unable to find an engine to execute this computation",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: out of memory",
    ):
        assert is_out_of_memory(RuntimeError(message))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    assert not is_out_of_memory(ValueError("CUDA out of memory"))
