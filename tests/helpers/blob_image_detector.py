"""An image detector whose answer is exact: bright rectangles on black."""

from helpers.blob_detector import BlobDetector
from srn_d2.inference.image_detector import ImageDetector
from srn_d2.inference.views import ViewPolicy


class BlobImageDetector(ImageDetector):
    """``BlobDetector`` behind the interface of the detectors.

    Args:
        max_pixels: larger images are refused.
    """

    def __init__(self, max_pixels=1_000_000):
        policy = ViewPolicy((8.0,), 300.0, large_faces=False, max_pixels=max_pixels)
        super().__init__(policy, score_threshold=0.1, nms_threshold=0.5, max_faces=100)
        self.blobs = BlobDetector()

    def _detect(self, images, single_scale):
        return [self.blobs.in_pixels(image) for image in images]
