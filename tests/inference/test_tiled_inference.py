"""Detection in tiles, by detectors that find no memory for larger images."""

import logging

import pytest
import torch
from detectron2.layers import batched_nms

from helpers.blob_detector import BlobDetector, picture, scattered_boxes
from srn_d2.inference.tiled_inference import detect_within_memory, is_out_of_memory
from srn_d2.inference.tiles import SMALLEST_CUT_SIDE, padded_pixels


def nms(found):
    boxes = found.pred_boxes.tensor
    return found[batched_nms(boxes, found.scores, found.pred_classes, 0.5)]


def detect(detector, image, max_face=None, max_pixels=None):
    return detect_within_memory(
        detector.detect,
        image,
        merge=nms,
        max_face=max_face,
        name="the picture",
        max_pixels=max_pixels,
    )


def boxes_of(instances):
    return sorted(instances.pred_boxes.tensor.tolist())


@pytest.mark.parametrize("max_face", [60, None])
@pytest.mark.parametrize("max_pixels", [1_000_000, 500_000, 300_000])
def test_tiles_find_what_the_whole_image_shows_each_once(max_face, max_pixels, caplog):
    """Tiles, and tiles of tiles; no face is lost, cut, or found twice, wherever it lies."""
    image = picture((1200, 1500), scattered_boxes((1200, 1500), 150, 60))
    detector = BlobDetector(max_pixels)
    found = detect(detector, image, max_face)
    assert found.image_size == (1200, 1500)
    assert boxes_of(found) == boxes_of(BlobDetector().detect(image))
    assert "Out of memory for the picture, 1500 x 1200 pixels: doing it in 4 tiles" in caplog.text
    sizes = [height * width for height, width in detector.sizes]
    assert min(sizes) <= max_pixels
    assert caplog.text.count("Out of memory") == sum(size > max_pixels for size in sizes) > 0


@pytest.mark.parametrize("max_face", [60, 300, None])
@pytest.mark.parametrize("max_pixels", [800_000, SMALLEST_CUT_SIDE**2])
@pytest.mark.parametrize("size", [(1201, 1499), (333, 2603), (2001, 509)])
def test_tiles_of_at_most_so_many_pixels_find_the_same(size, max_pixels, max_face, caplog):
    image = picture(size, scattered_boxes(size, 100, 60))
    detector = BlobDetector()
    with caplog.at_level(logging.INFO):
        found = detect(detector, image, max_face, max_pixels)
    assert found.image_size == size
    assert boxes_of(found) == boxes_of(BlobDetector().detect(image))
    assert len(detector.sizes) > 1
    assert max(padded_pixels(*tile) for tile in detector.sizes) <= max_pixels
    assert {record.levelname for record in caplog.records} == {"INFO"}
    assert f"in the picture, {size[1]} x {size[0]} pixels: doing it in" in caplog.text


def test_a_tile_of_so_many_pixels_that_runs_out_of_memory_is_cut_again(caplog):
    image = picture((1200, 1500), scattered_boxes((1200, 1500), 150, 60))
    detector = BlobDetector(300_000)
    found = detect(detector, image, 60, max_pixels=700_000)
    assert boxes_of(found) == boxes_of(BlobDetector().detect(image))
    assert 300_000 < max(height * width for height, width in detector.sizes) <= 700_000
    assert "Out of memory for the picture" in caplog.text


def test_the_limit_of_pixels_is_that_of_the_padded_image():
    for size, whole in (((512, 640), True), ((511, 639), True), ((512, 641), False)):
        detector = BlobDetector()
        detect(detector, torch.zeros(3, *size, dtype=torch.uint8), max_pixels=512 * 640)
        assert (detector.sizes == [size]) == whole


def test_a_limit_below_what_can_be_cut_is_refused():
    with pytest.raises(ValueError, match="max_pixels is 262143"):
        detect(BlobDetector(), torch.zeros(3, 8, 8, dtype=torch.uint8), max_pixels=512**2 - 1)


def test_nothing_is_cut_nor_logged_where_memory_suffices(caplog):
    detector = BlobDetector()
    image = picture((600, 700), [[10, 10, 30, 30]])
    with caplog.at_level(logging.INFO):
        assert boxes_of(detect(detector, image)) == [[10, 10, 30, 30]]
    assert detector.sizes == [(600, 700)]
    assert not caplog.records


def test_a_face_larger_than_the_overlap_is_found_in_part_and_the_log_says_so(caplog):
    image = picture((300, 1000), [[100, 50, 899, 249]])
    found = detect(BlobDetector(250_000), image, max_face=50)
    assert len(found) > 0
    assert "in 2 tiles of up to 616 x 300 pixels" in caplog.text
    assert "in part" not in caplog.text  # only faces of up to 50 pixels were asked for
    caplog.clear()
    detect(BlobDetector(250_000), image)
    assert "faces larger than 250 pixels may be found in part only" in caplog.text


def test_an_image_too_small_to_be_cut_raises_the_detectors_error():
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        detect(BlobDetector(1000), torch.zeros(3, 400, 300, dtype=torch.uint8))
    detector = BlobDetector(10)
    with pytest.raises(torch.OutOfMemoryError):
        detect(detector, torch.zeros(3, 2000, 2000, dtype=torch.uint8))
    assert min(detector.sizes) < (512, 512)


def test_other_errors_are_not_retried():
    calls = []

    def fail(image):
        calls.append(image.shape)
        raise RuntimeError("expected 3 channels")

    with pytest.raises(RuntimeError, match="3 channels"):
        detect_within_memory(
            fail, torch.zeros(3, 2000, 2000), merge=nms, max_face=None, name="the picture"
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
