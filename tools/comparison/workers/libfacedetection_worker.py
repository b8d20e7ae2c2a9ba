"""libfacedetection with the weights in the package yuface.

Options: threshold; scale, by which the sides of the image are multiplied (1 without it). Boxes are
whole pixels of the image that it gets, scores whole hundredths. Its threads are OpenMP's, which the
environment variable OMP_NUM_THREADS limits.
"""

import warnings

import numpy as np
from worker_loop import at_scale, serve


def load(options):
    import yuface

    warnings.filterwarnings("ignore", "Image size", UserWarning)

    def detect(image):
        bgr = np.ascontiguousarray(image[:, :, ::-1])
        scores, boxes, _ = yuface.detect(bgr, conf=options["threshold"])
        boxes = boxes.astype(np.float64).reshape(-1, 4)
        return np.column_stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), scores / 100

    return at_scale(detect, options.get("scale", 1))


serve(load)
