"""Detection in tiles, by detectors that find no memory for larger images."""

import itertools
import logging

import pytest
import torch
from blob_detector import BlobDetector, picture, scattered_boxes
from detectron2.layers import batched_nms
from hypothesis import given
from hypothesis import strategies as st

from srn_d2.modeling.tiled_inference import (
    MAX_TILE_PIXELS,
    SMALLEST_CUT_SIDE,
    TILE_ALIGNMENT,
    cut,
    detect_within_memory,
    grid,
    is_out_of_memory,
    padded_pixels,
)


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


@given(
    st.integers(1, 20_000),
    st.one_of(st.none(), st.floats(1, 3000)),
    st.integers(2, 16),
    st.floats(0, 1),
)
def test_a_face_is_whole_in_a_tile_to_which_its_centre_belongs(side, max_face, parts, place):
    spans = cut(side, max_face, parts)
    assert spans[0].start == 0
    assert spans[-1].stop == side
    assert len(spans) <= parts
    if len(spans) == 1:
        assert side < 2 * parts * TILE_ALIGNMENT
        return
    for first, second in itertools.pairwise(spans):
        assert second.start % TILE_ALIGNMENT == 0
        assert first.start < second.start <= first.stop < second.stop
    largest = side // 2 / 2 if max_face is None else min(int(2 * max_face) / 2, side // 2 / 2)
    start = place * (side - largest)  # of a face of the largest size, anywhere
    stop, centre = start + largest, start + largest / 2
    owners = [span for span in spans if span.owned_from <= centre < span.owned_to]
    assert owners
    for span in owners:
        assert span.start + largest / 4 <= start or span.start == 0
        assert stop <= span.stop - largest / 4 or span.stop == side


@given(st.integers(512, 5000), st.integers(2, 16), st.floats(0, 1))
def test_the_part_of_a_face_that_a_tile_cuts_off_does_not_count(side, parts, place):
    """Of a face of up to half the overlap that reaches beyond the first tile."""
    for first, second in itertools.pairwise(cut(side, None, parts)):
        face = (first.stop - second.start) / 2
        start = first.stop - face + place * face  # it goes beyond the tile: only a part is seen
        assert (start + first.stop) / 2 >= first.owned_to


def longest(spans):
    return max(span.stop - span.start for span in spans)


def total(spans):
    return sum(span.stop - span.start for span in spans)


@given(st.integers(1, 30_000), st.integers(1, 30_000), st.one_of(st.none(), st.floats(1, 3000)))
def test_a_grid_has_tiles_of_at_most_so_many_pixels(height, width, max_face):
    """In images of up to 900 megapixels no tile has to be cut again; nor are there too many."""
    rows, columns = grid(height, width, max_face, MAX_TILE_PIXELS)
    assert padded_pixels(longest(rows), longest(columns)) <= MAX_TILE_PIXELS
    assert (len(rows) == len(columns) == 1) == (padded_pixels(height, width) <= MAX_TILE_PIXELS)
    assert total(rows) * total(columns) <= 4 * height * width


def test_images_too_large_for_a_grid_are_halved():
    rows, columns = grid(200_000, 200_000, 572, MAX_TILE_PIXELS)
    assert (rows, columns) == (cut(200_000, 572), cut(200_000, 572))


@pytest.mark.parametrize(
    ("height", "width", "tiles", "cost"),  # pixels of all tiles by those of the image
    [
        (4096, 4096, (1, 1), 1.0),
        (4000, 6000, (1, 2), 1.2),  # 24 megapixels
        (6144, 8192, (2, 3), 1.6),
        (10_000, 10_000, (3, 4), 1.7),
        (1000, 100_000, (1, 7), 1.1),
    ],
)
def test_what_large_photographs_are_cut_into(height, width, tiles, cost):
    rows, columns = grid(height, width, 572, MAX_TILE_PIXELS)  # largest face of "lite"
    assert (len(rows), len(columns)) == tiles
    assert total(rows) * total(columns) / height / width == pytest.approx(cost, abs=0.1)
