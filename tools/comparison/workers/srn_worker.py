"""``srn_d2.FaceDetector``. Options: its arguments."""

from worker_loop import serve


def load(options):
    import torch

    from srn_d2 import FaceDetector

    options = dict(options)
    torch.set_num_threads(options.pop("threads"))
    detector = FaceDetector(device="cpu", **options)

    def detect(image):
        faces = detector(image)
        return faces.boxes, faces.scores

    return detect


serve(load)
