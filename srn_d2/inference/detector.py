"""The face detector of the Python interface:

from srn_d2 import FaceDetector

detector = FaceDetector()
faces = detector("photo.jpg")
"""

import itertools
import logging
import os
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode

from srn_d2.checkpoint.shipped_models import find_shipped_model
from srn_d2.config import build_cfg, check_device
from srn_d2.config.device import VALID_DEVICES as config_devices

from .defaults import SCORE_THRESHOLD
from .detections import Detections
from .image_detector import ImageDetector
from .large_faces import largest_learned_face
from .predictor import FacePredictor
from .views import MAX_PIXELS, View, ViewPolicy

logger = logging.getLogger(__name__)

VALID_DEVICES = f"'auto' (a CUDA GPU if there is one), {config_devices}"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class FaceDetector(ImageDetector):
    """Finds faces in pictures of any kind.

    Several threads may call one detector at the same time. Faces in a picture do not depend on
    which others are in the list with it. A detector can be pickled; in a process that is forked
    after its first use it computes with one thread, and on a GPU not at all.

    A network finds faces up to the size of its largest anchor, or of the largest that it was
    trained on: some 360 pixels ("lite"). An image with room for larger ones is passed again,
    downscaled until a face that fills it has this size. That is a sixth of the pixels more for an
    image of 1000 x 1000, and none for one of 500 x 500; ``large_faces=False`` leaves it out.

    Args:
        model: one that comes with the package: "lite". Not used if a config is given.
        config_file: instead of it, a config file of this project, the name of one in
            ``srn_d2.model_zoo``, or a whole config.
        weights: a checkpoint for that config; None: its MODEL.WEIGHTS.
        device: "auto" (CUDA if there is a GPU), "cpu", "cuda", "cuda:1", ..., or a torch.device;
            "mps", an Apple GPU, is passed on to torch and has not been tried.
        score_threshold: minimum score of a face.
        size: size of the network's input: "original"; its longer side in pixels, to which the
            image is reduced or enlarged; or "config": by INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST.
        min_face_size: instead of it, the size in pixels (square root of the area) of the smallest
            faces wanted: the image is reduced or enlarged until the smallest anchor, of 8 pixels,
            fits these. Large values are fast, small ones find more.
        dtype: "float32" or "bfloat16", in which the network computes: faster where the hardware
            has it, far slower where it does not (a warning says so), with slightly other boxes
            and scores. It is TEST.BFLOAT16, which only SRN reads.
        multi_scale: multi-scale and flip testing by the config's TEST.SRN_TTA; several times
            slower, finds more.
        large_faces: run further passes over downscaled images.
        max_pixels: images with more pixels, before or after enlarging, are refused. Images of more
            than 4096 x 4096 pixels are processed in overlapping tiles, which bounds memory to some
            5 GB ("lite", float32, on a CPU).

    Raises:
        ValueError: an argument has a wrong value, or weights do not fit the config
            (``IncompatibleWeightsError``), are none (``UnreadableWeightsError``) or are damaged
            (``WeightsHashError``).
        FileNotFoundError: the model, the config or the weights are not there.
        RuntimeError: the device is a GPU that is not there.
    """

    def __init__(
        self,
        model: str = "lite",
        *,
        config_file: str | os.PathLike | CfgNode | None = None,
        weights: str | os.PathLike | None = None,
        device: str | torch.device = "auto",
        score_threshold: float = SCORE_THRESHOLD,
        size: int | Literal["original", "config"] = "original",
        min_face_size: float | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        multi_scale: bool = False,
        large_faces: bool = True,
        max_pixels: int = MAX_PIXELS,
    ):
        _check_arguments(size, min_face_size, dtype)
        cfg = load_cfg(model, config_file, weights)
        _configure(cfg, device, dtype, multi_scale)
        self.follows_config_size = size == "config"
        policy = ViewPolicy(
            anchor_sizes=tuple(itertools.chain(*cfg.MODEL.ANCHOR_GENERATOR.SIZES)),
            largest_face=largest_learned_face(cfg),
            size="original" if size == "config" else size,
            min_face_size=min_face_size,
            large_faces=large_faces,
            max_pixels=max_pixels,
        )
        super().__init__(
            policy,
            score_threshold=score_threshold,
            nms_threshold=cfg.MODEL.SRN.NMS_THRESH_TEST,
            max_faces=cfg.TEST.DETECTIONS_PER_IMAGE,
        )
        self.device = torch.device(cfg.MODEL.DEVICE)
        self.dtype = DTYPES[dtype]
        self._predictor = FacePredictor(cfg)
        self.size_divisibility = self._predictor.size_divisibility

    def _adapt_to_fork(self) -> None:
        if self.device.type != "cpu":
            raise RuntimeError(
                f"this process was forked from one whose detector is on {str(self.device)!r}, "
                "which the two cannot share: build it after the fork, or start processes by "
                'multiprocessing.get_context("spawn")'
            )
        if torch.get_num_threads() > 1:
            logger.warning(
                "This process was forked from one that has used the detector: it computes with one "
                "thread, since OpenMP's are lost by forking. For more, build the detector in the "
                'process, started by multiprocessing.get_context("spawn")'
            )
        torch.set_num_threads(1)  # with more, OpenMP waits for threads that are not there
        cv2.setNumThreads(0)

    def _views(self, image: np.ndarray) -> list[View]:
        resized = self._predictor.resize(image) if self.follows_config_size else None
        return self.view_policy.views(image, resized)

    def _detect(self, images: Sequence[np.ndarray], single_scale: bool) -> list[Detections]:
        return self._predictor.detect(images, single_scale)


def _check_arguments(size: int | str, min_face_size: float | None, dtype: str) -> None:
    """Raise a ValueError for an invalid argument that only this detector has."""
    if size == "config" and min_face_size is not None:
        raise ValueError(f"min_face_size is {min_face_size}, size 'config': give one of them")
    if isinstance(size, str) and size not in ("original", "config"):
        raise ValueError(f"size is {size!r}; valid are 'original', 'config' and pixels")
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; valid are {list(DTYPES)}")


def _configure(cfg: CfgNode, device: str | torch.device, dtype: str, multi_scale: bool) -> None:
    """Apply ``FaceDetector``'s arguments of these names to a config, and check it.

    Raises:
        ValueError, RuntimeError: as ``FaceDetector``.
    """
    cfg.MODEL.DEVICE = _device_name(device)
    check_device(cfg, "device", 'take "cpu" or "auto"', VALID_DEVICES)
    in_bfloat16 = DTYPES[dtype] == torch.bfloat16
    if in_bfloat16 and cfg.MODEL.META_ARCHITECTURE != "SRN":
        name = cfg.MODEL.META_ARCHITECTURE
        raise ValueError(f"dtype {dtype!r} is for MODEL.META_ARCHITECTURE SRN only, not {name!r}")
    cfg.SOLVER.CPU_BFLOAT16, cfg.TEST.BFLOAT16 = False, in_bfloat16
    cfg.TEST.SRN_TTA.ENABLED = multi_scale


def _device_name(device: str | torch.device) -> str:
    """MODEL.DEVICE of ``FaceDetector``'s argument.

    Raises:
        ValueError: it is no name of a device.
    """
    if not isinstance(device, (str, torch.device)):
        hint = f"; the GPU {device} is 'cuda:{device}'" if type(device) is int else ""
        raise ValueError(f"device is {device!r}; valid are {VALID_DEVICES}{hint}")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return str(device)


def load_cfg(
    model: str,
    config_file: str | os.PathLike | CfgNode | None = None,
    weights: str | os.PathLike | None = None,
) -> CfgNode:
    """The config of a model that comes with the package or of the user's; MODEL.WEIGHTS is set.

    Arguments and errors are those of ``FaceDetector``.
    """
    if config_file is None:
        if weights is not None:
            raise ValueError("weights need the config_file that they belong to")
        shipped = find_shipped_model(model)
        config_file, weights = shipped.config_file, shipped.weights
    if isinstance(config_file, CfgNode):
        cfg = config_file.clone()
        cfg.defrost()
    else:
        cfg = build_cfg(os.fspath(config_file))
    if weights is not None:
        cfg.MODEL.WEIGHTS = os.fspath(weights)
    return cfg
