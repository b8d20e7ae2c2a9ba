"""Workers: real processes and their protocol."""

import importlib.util
import signal

import numpy as np
import pytest
from PIL import Image

from comparison import worker as worker_module
from comparison.worker import ImageError, WorkerError
from srn_d2.data.image_io import read_image


def test_boxes_scores_and_seconds(factory, bright, make_image):
    with factory.start(bright()) as worker:
        assert worker.load_seconds > 0
        found = worker.detect(make_image("a"))
    np.testing.assert_array_equal(found.boxes, [[12, 12, 29, 29], [0, 0, 5, 5]])
    np.testing.assert_array_equal(found.scores, [0.9, 0.01])  # the second: one thread
    assert found.seconds > 0


def test_no_face(factory, bright, make_image):
    with factory.start(bright(threshold=250)) as worker:
        found = worker.detect(make_image("a"))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_other_options_for_one_run(factory, bright, make_image):
    with factory.start(bright(), {"threshold": 250}) as worker:
        assert len(worker.detect(make_image("a")).scores) == 0


def test_enlarged_images_and_boxes_of_the_original_size(factory, bright, make_image):
    with factory.start(bright(scale=1.5, fail_at=90)) as worker:
        with pytest.raises(ImageError, match="too wide for me"):
            worker.detect(make_image("a", width=60))
        found = worker.detect(make_image("b", width=61))  # 92 x 60 pixels
    np.testing.assert_allclose(found.boxes[0], [12, 12, 29, 29], atol=0.7)
    np.testing.assert_allclose(found.boxes[1], [0, 0, 5 * 61 / 92, 5 * 40 / 60])


def test_a_bad_image_or_a_failure_leaves_the_worker_alive(factory, bright, make_image, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("no image")
    truncated = tmp_path / "truncated.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(
        truncated
    )
    truncated.write_bytes(truncated.read_bytes()[:1500])
    with factory.start(bright(fail_at=61)) as worker:
        for path in (text, truncated, tmp_path / "missing.jpg"):
            with pytest.raises(ImageError, match="cannot be decoded"):
                worker.detect(path)
        with pytest.raises(ImageError, match="ValueError: too wide for me"):
            worker.detect(make_image("b", width=61))
        assert len(worker.detect(make_image("a")).scores) == 2


def test_a_worker_that_dies(factory, bright, make_image):
    with factory.start(bright(die_at=61)) as worker:
        worker.detect(make_image("a"))
        with pytest.raises(WorkerError, match=f"ended with status {-signal.SIGKILL}"):
            worker.detect(make_image("b", width=61))
        with pytest.raises(WorkerError, match="ended with status"):
            worker.detect(make_image("a"))


def test_a_worker_that_does_not_start(factory, bright, tmp_path):
    with pytest.raises(WorkerError, match=r"status 1: ImportError: no such library .*bright\.log"):
        factory.start(bright(fail_to_load=True))
    assert "Traceback" in (tmp_path / "out" / "logs" / "bright.log").read_text()


def test_nonsense_instead_of_the_protocol(factory, bright):
    with pytest.raises(WorkerError, match=r"answers b'hello\\n' instead of ready"):
        factory.start(bright(nonsense=True))


def test_no_answer_in_time(factory, bright, make_image, monkeypatch):
    with factory.start(bright(sleep=60)) as worker:
        monkeypatch.setattr(worker_module, "TIMEOUT", 0.1)
        with pytest.raises(WorkerError, match=r"no answer in 0\.1 seconds"):
            worker.detect(make_image("a"))


def test_all_detectors_see_what_this_project_reads(repo_root, tmp_path):
    path = repo_root / "tools" / "comparison" / "workers" / "worker_loop.py"
    spec = importlib.util.spec_from_file_location("worker_loop", path)
    worker_loop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker_loop)
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    image = worker_loop.read_image(tmp_path / "a.jpg")
    assert image.shape == (50, 30, 3)
    np.testing.assert_array_equal(image, read_image(tmp_path / "a.jpg"))
