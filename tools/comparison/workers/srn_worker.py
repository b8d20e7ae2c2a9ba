"""``srn_d2.FaceDetector``. Options: its arguments."""

from worker_loop import serve


def load(options):
    from srn_d2 import FaceDetector

    detector = FaceDetector(device="cpu", **options)

    def detect(image):
        faces = detector(image)
        return faces.boxes, faces.scores

    return detect


serve(load)
