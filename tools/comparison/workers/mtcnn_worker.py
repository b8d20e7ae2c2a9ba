"""MTCNN with the weights in the package facenet-pytorch.

Options: thresholds, of its three stages; min_face_size, in pixels.
"""

import numpy as np
from worker_loop import serve


def load(options):
    import torch
    from facenet_pytorch import MTCNN

    torch.set_num_threads(options["threads"])
    detector = MTCNN(
        thresholds=options["thresholds"],
        min_face_size=options["min_face_size"],
        keep_all=True,
        select_largest=False,
        device="cpu",
    )

    def detect(image):
        boxes, scores = detector.detect(image)
        return (boxes, scores) if boxes is not None else (np.zeros((0, 4)), np.zeros(0))

    return detect


serve(load)
