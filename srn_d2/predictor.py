"""One image in, its faces out: the model outside training and evaluation."""

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.structures import Instances

from srn_d2.checkpoint import SRNCheckpointer
from srn_d2.data.transforms import build_face_augmentation
from srn_d2.engine import SRNTrainer
from srn_d2.modeling import SRNWithTTA


class FacePredictor:
    """Detect the faces of one image, as evaluation does it.

    Unlike detectron2's DefaultPredictor it takes RGB, whatever INPUT.FORMAT is, resizes as the
    test loader does (INPUT.MIN_SIZE_TEST 0: original size), and refuses weights that do not fit.
    With TEST.SRN_TTA.ENABLED it looks at several scales.

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
        self.model = SRNTrainer.build_model(cfg).eval()
        SRNCheckpointer(self.model, strict=True).load(cfg.MODEL.WEIGHTS)
        if cfg.TEST.SRN_TTA.ENABLED:
            self.model = SRNWithTTA(cfg, self.model).eval()

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> Instances:
        """
        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            Instances on the CPU, image size (H, W), with ``pred_boxes``, ``scores`` and
            ``pred_classes``, best first.
        """
        height, width = image.shape[:2]
        augmented = T.AugInput(image)
        self.augmentations(augmented)
        pixels = augmented.image if self.image_format == "RGB" else augmented.image[:, :, ::-1]
        pixels = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))  # (3, h, w)
        [output] = self.model([{"image": pixels, "height": height, "width": width}])
        return output["instances"].to("cpu")
