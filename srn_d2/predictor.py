"""One image in, its faces out: the model outside training and evaluation."""

import pickle
from typing import Any

import numpy as np
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from detectron2.structures import Instances

from srn_d2.data.transforms import build_face_augmentation

# What reading a file that is missing or is no checkpoint raises; fvcore asserts that it is there.
READ_ERRORS = (OSError, AssertionError, RuntimeError, EOFError, pickle.UnpicklingError)
# How many names of weights an error lists.
NUM_WEIGHTS_SHOWN = 10


class WeightsError(ValueError):
    """Weights that are not there, or do not cover the model that the config describes."""


class FacePredictor:
    """Detect the faces of one image, as evaluation does it.

    Unlike detectron2's DefaultPredictor it takes RGB, whatever INPUT.FORMAT is, resizes as the
    test loader does (INPUT.MIN_SIZE_TEST 0: original size), and refuses weights that leave a part
    of the model untrained.

    Args:
        cfg: the model; its weights are MODEL.WEIGHTS, its device MODEL.DEVICE.

    Raises:
        WeightsError: MODEL.WEIGHTS is empty, missing, or does not cover the model.
    """

    def __init__(self, cfg: CfgNode):
        if cfg.INPUT.FORMAT not in ("RGB", "BGR"):
            raise ValueError(f'INPUT.FORMAT must be "RGB" or "BGR", not "{cfg.INPUT.FORMAT}"')
        self.image_format = cfg.INPUT.FORMAT
        self.augmentations = build_face_augmentation(cfg, is_train=False)
        self.model = build_model(cfg).eval()
        load_whole_model(self.model, cfg.MODEL.WEIGHTS)

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
        T.AugmentationList(self.augmentations)(augmented)
        pixels = augmented.image if self.image_format == "RGB" else augmented.image[:, :, ::-1]
        pixels = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))  # (3, h, w)
        [output] = self.model([{"image": pixels, "height": height, "width": width}])
        return output["instances"].to("cpu")


def load_whole_model(model: torch.nn.Module, path: str) -> None:
    """Load weights into every parameter and buffer of ``model``.

    Args:
        path: a file or an address that detectron2's checkpointer reads.

    Raises:
        WeightsError: there are none, or some parts of the model are missing in them.
    """
    if not path:
        raise WeightsError("No weights are given: set MODEL.WEIGHTS to a trained checkpoint")
    checkpointer = _StrictCheckpointer(model)
    try:
        checkpointer.load(path)
    except READ_ERRORS as error:
        raise WeightsError(f"The weights {path} cannot be read: {error}") from error


class _StrictCheckpointer(DetectionCheckpointer):
    def _load_model(self, checkpoint: dict[str, Any]) -> Any:
        incompatible = super()._load_model(checkpoint)
        shapes = [
            f"{name}: {tuple(found)} in the file, {tuple(wanted)} in the model"
            for name, found, wanted in incompatible.incorrect_shapes
        ]
        missing = [f"{name}: not in the file" for name in incompatible.missing_keys]
        problems = shapes + missing
        if problems:
            shown = "\n  ".join(problems[:NUM_WEIGHTS_SHOWN])
            more = len(problems) - NUM_WEIGHTS_SHOWN
            raise WeightsError(
                f"{len(problems)} weights of the model do not come from the file; is it another "
                f"config's, or a backbone alone?\n  {shown}"
                + (f"\n  ... and {more} more" if more > 0 else "")
            )
        return incompatible
