"""A worker for the tests, a real one: its faces are what is bright.

Options: threshold, of brightness; scale, of the image's sides; and what is to go wrong:
fail_to_load; fail_at, die_at, nan_at, the width of an image; die, at every image; nonsense, no
JSON; sleep, seconds an image.
"""

import os
import signal
import sys
import time

import numpy as np
from worker_loop import at_scale, serve


def load(options):
    print("a package's own news")  # must not get between the answers
    if "fail_to_load" in options:
        raise ImportError("no such library")

    def detect(image):
        time.sleep(options.get("sleep", 0))
        width = image.shape[1]
        if options.get("die") or options.get("die_at") == width:
            os.kill(os.getpid(), signal.SIGKILL)
        if options.get("fail_at") == width:
            raise ValueError("too wide for me")
        rows, columns = np.nonzero(image.min(axis=2) > options["threshold"])
        if options.get("nan_at") == width:
            return [[0, 0, 1, np.nan]], [0.5]
        if len(rows) == 0:
            return [], []
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        # A second, wrong one, so that the scores are not all the same.
        return [box, [0, 0, 5, 5]], [0.9, options["threads"] / 100]

    return at_scale(detect, options.get("scale", 1))


if "nonsense" in sys.argv[1]:
    print("hello")
else:
    serve(load)
