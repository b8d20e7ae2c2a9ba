"""One image in, its faces out: the model outside training and evaluation."""

from collections.abc import Sequence

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.structures import Instances

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.data.transforms import build_face_augmentation
from srn_d2.engine import SRNTrainer
from srn_d2.modeling import SRNWithTTA, compile_network


class FacePredictor:
    """Detect the faces of one image, as evaluation does it.

    Unlike detectron2's DefaultPredictor it takes RGB, whatever INPUT.FORMAT is, resizes as the
    test loader does (INPUT.MIN_SIZE_TEST 0: original size), and refuses weights that do not fit.
    With TEST.SRN_TTA.ENABLED it looks at several scales; with TEST.COMPILE the network is compiled.

    Args:
        cfg: the model; its weights are MODEL.WEIGHTS, its device MODEL.DEVICE.

    Raises:
        ValueError: MODEL.WEIGHTS is empty, or some of the file's keys and the model's do not
            match (IncompatibleWeightsError).
        FileNotFoundError: MODEL.WEIGHTS is not there.
    """

    def __init__(self, cfg: CfgNode):
        if not cfg.MODEL.WEIGHTS:
            raise ValueError("No weights are given: set MODEL.WEIGHTS to a trained checkpoint")
        self.image_format = cfg.INPUT.FORMAT
        self.augmentations = T.AugmentationList(build_face_augmentation(cfg, is_train=False))
        self.single_scale_model = SRNTrainer.build_model(cfg).eval()
        SRNCheckpointer(self.single_scale_model, strict=True).load(cfg.MODEL.WEIGHTS)
        if cfg.TEST.COMPILE:
            compile_network(self.single_scale_model)
        # Batches of images are padded to a multiple of it.
        self.size_divisibility = max(self.single_scale_model.backbone.size_divisibility, 1)
        self.model = self.single_scale_model
        if cfg.TEST.SRN_TTA.ENABLED:
            self.model = SRNWithTTA(cfg, self.single_scale_model).eval()

    def __call__(self, image: np.ndarray) -> Instances:
        """
        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            Instances on the CPU, image size (H, W), with ``pred_boxes``, ``scores`` and
            ``pred_classes``, best first.
        """
        [detections] = self.detect([self.resize(image)], [image.shape[:2]])
        return detections

    def resize(self, image: np.ndarray) -> np.ndarray:
        """An image (H, W, 3) in the size that INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST ask for."""
        augmented = T.AugInput(image)
        self.augmentations(augmented)
        return augmented.image

    @torch.no_grad()
    def detect(
        self,
        images: Sequence[np.ndarray],
        output_sizes: Sequence[tuple[int, int]],
        single_scale: bool = False,
    ) -> list[Instances]:
        """The detections of a batch of images, resized before.

        Args:
            images: uint8 (h, w, 3), RGB.
            output_sizes: (H, W) in whose pixels each image's boxes are to be.
            single_scale: one scale only, with TEST.SRN_TTA.ENABLED too.

        Returns:
            as ``__call__``, for each image.
        """
        inputs = [
            {"image": self._to_tensor(image), "height": height, "width": width}
            for image, (height, width) in zip(images, output_sizes, strict=True)
        ]
        model = self.single_scale_model if single_scale else self.model
        return [output["instances"].to("cpu") for output in model(inputs)]

    def _to_tensor(self, image: np.ndarray) -> torch.Tensor:
        """RGB (h, w, 3) to (3, h, w) in the model's order of channels."""
        pixels = image if self.image_format == "RGB" else image[:, :, ::-1]
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
