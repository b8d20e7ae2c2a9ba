"""dlib's frontal face detector (HOG), which is in its library. One thread.

Options: threshold, which is added to its own; upsample, how often the image's sides are doubled.
"""

from worker_loop import serve


def load(options):
    import dlib

    detector = dlib.get_frontal_face_detector()

    def detect(image):
        found, scores, _ = detector.run(image, options["upsample"], options["threshold"])
        # right() and bottom() are the last pixels inside.
        boxes = [(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in found]
        return boxes, list(scores)

    return detect


serve(load)
