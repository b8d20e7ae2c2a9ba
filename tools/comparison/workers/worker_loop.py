"""The loop that all workers share. A worker is a script that ends with ``serve(load)``.

It runs in an environment of its own, so it imports nothing of srn_d2 (but for the one that runs
srn_d2 itself): only its detector, NumPy and Pillow. Its only argument is a JSON object: options of
the detector, and "threads". JSON objects, one a line, go out on stdout and come in on stdin:

    out {"ready": seconds that loading took}
    in  {"image": path}
    out {"boxes": [[x1, y1, x2, y2], ...], "scores": [...], "seconds": of the detection alone}
    or  {"error": what is wrong with the image}

until stdin ends. Boxes are in pixels of the upright image; 0, 0 is the upper left corner of its
first pixel, so that the width is x2 - x1.
"""

import json
import os
import signal
import sys
import time

import numpy as np
from PIL import Image, ImageOps


def serve(load):
    """Answer until stdin ends.

    Args:
        load: called with the dict of options; returns a function from an image, uint8 (H, W, 3)
            RGB, to boxes (n, 4) and scores (n,).
    """
    answers = _take_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tool, whose end ends stdin
    options = json.loads(sys.argv[1])
    start = time.perf_counter()
    detect = load(options)
    _write(answers, {"ready": time.perf_counter() - start})
    for line in sys.stdin:
        _write(answers, _answer(detect, json.loads(line)["image"]))


def at_scale(detect, scale):
    """A function like ``detect`` that enlarges each image first (bilinear).

    Args:
        detect: a function from an image to boxes and scores, see :func:`serve`.
        scale: by which the sides are multiplied; boxes come back in pixels of the image as given.
    """
    if scale == 1:
        return detect

    def detect_scaled(image):
        height, width = image.shape[:2]
        size = (round(scale * width), round(scale * height))
        scaled = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        boxes, scores = detect(np.array(scaled))
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        return boxes * np.tile([width / size[0], height / size[1]], 2), scores

    return detect_scaled


def limit_onnxruntime(threads):
    """Make sessions that a package creates without options use so many threads.

    onnxruntime takes all cores otherwise; no variable of the environment tells it how many.
    """
    import onnxruntime

    class Session(onnxruntime.InferenceSession):
        def __init__(self, model, sess_options=None, **arguments):
            sess_options = sess_options or onnxruntime.SessionOptions()
            sess_options.intra_op_num_threads = threads
            super().__init__(model, sess_options, **arguments)

    onnxruntime.InferenceSession = Session


def _answer(detect, path):
    try:
        image = read_image(path)
    except Exception as error:  # decoders raise nearly anything when fed with damaged bytes
        return {"error": f"cannot be decoded: {error}"}
    try:
        start = time.perf_counter()
        boxes, scores = detect(image)
        seconds = time.perf_counter() - start
    except Exception as error:  # any error of a package; the next image may succeed
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "boxes": np.asarray(boxes, dtype=np.float64).reshape(-1, 4).tolist(),
        "scores": np.asarray(scores, dtype=np.float64).reshape(-1).tolist(),
        "seconds": seconds,
    }


def read_image(path):
    """The image upright, uint8 (H, W, 3) RGB: the same pixels for every detector."""
    with Image.open(path) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def _take_stdout():
    """A file that writes to stdout; what packages print goes to stderr from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _write(answers, message):
    answers.write(json.dumps(message) + "\n")
    answers.flush()
