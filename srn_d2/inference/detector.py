"""The face detector of the Python interface:

from srn_d2 import FaceDetector

detector = FaceDetector()
faces = detector("photo.jpg")
"""

import itertools
import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from srn_d2.heavy_imports import import_heavy
from srn_d2.model_files import find_shipped_model

from .defaults import SCORE_THRESHOLD
from .detections import Detections
from .export_metadata import ExportMetadata
from .image_detector import ImageDetector
from .large_faces import largest_learned_face
from .onnx_choice import Asked, open_network
from .onnx_network import OnnxNetwork
from .runtime import RUNTIMES, Runtime
from .views import MAX_PIXELS, View, ViewPolicy

if TYPE_CHECKING:
    import torch
    from detectron2.config import CfgNode

    from .predictor import FacePredictor

logger = logging.getLogger(__name__)

DTYPES = ("float32", "bfloat16")


class FaceDetector(ImageDetector):
    """Finds faces in pictures of any kind.

    Several threads may call one detector at the same time. Faces in a picture do not depend on
    which others are in the list with it. A detector can be pickled; in a process that is forked
    after its first use it computes with one thread, and on a GPU not at all.

    A network finds faces up to the size of its largest anchor, or of the largest that it was
    trained on: some 360 pixels ("lite"). An image with room for larger ones is passed again,
    downscaled until a face that fills it has half of this size. That is 4 % of the pixels more for
    an image of 1000 x 1000, and none for one of 500 x 500; ``large_faces=False`` leaves it out.

    Args:
        model: one that comes with the package: "lite", or one that was "lite" before: "lite-v3"
            and "lite-v2", of the same network, or "lite-v1", which takes twice the time. Not used
            if a config is given.
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
        runtime: what computes the network. "onnx" is ONNX Runtime on the CPU, for a model that
            comes with the package, in float32 and on a single scale; torch is not imported then.
            "torch" is PyTorch. "auto" is ONNX Runtime where that is possible and there is no CUDA
            GPU to use, else PyTorch. Both find the same faces, up to rounding.
        threads: number of threads of the network on a CPU; None: those of OMP_NUM_THREADS or all
            cores. PyTorch's number is that of the whole process.
        max_pixels: images with more pixels, before or after enlarging, are refused. Images of more
            than 4096 x 4096 pixels are processed in overlapping tiles, which bounds memory to some
            5 GB ("lite", float32, on a CPU).

    Raises:
        ValueError: an argument has a wrong value, or weights do not fit the config
            (``IncompatibleWeightsError``), are none (``UnreadableWeightsError``) or are damaged
            (``WeightsHashError``), or runtime is "onnx", which cannot do what is asked for.
        FileNotFoundError: the model, the config or the weights are not there.
        ImportError: runtime is "onnx", but onnxruntime is not installed.
        RuntimeError: the device is a GPU that is not there.
    """

    def __init__(
        self,
        model: str = "lite",
        *,
        config_file: "str | os.PathLike | CfgNode | None" = None,
        weights: str | os.PathLike | None = None,
        device: "str | torch.device" = "auto",
        score_threshold: float = SCORE_THRESHOLD,
        size: int | Literal["original", "config"] = "original",
        min_face_size: float | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        multi_scale: bool = False,
        large_faces: bool = True,
        max_pixels: int = MAX_PIXELS,
        runtime: Runtime = "auto",
        threads: int | None = None,
    ):
        _check_arguments(size, min_face_size, dtype, runtime)
        self.follows_config_size = size == "config"
        self._model_name, self._dtype, self._device_name = model, dtype, "cpu"
        self._cfg: CfgNode | None = None
        self._predictor: FacePredictor | None = None  # PyTorch's, or
        self._network: OnnxNetwork | None = None  # ONNX Runtime's
        if runtime != "torch":
            asked = Asked(config_file, weights, device, size, dtype, multi_scale)
            self._network = self._open_network(asked, runtime, threads)
        if self._network is None:
            self._load_predictor(config_file, weights, device, multi_scale, threads)
        anchor_sizes, largest_face, nms_threshold, max_faces = self._rules()
        policy = ViewPolicy(
            anchor_sizes=anchor_sizes,
            largest_face=largest_face,
            size="original" if size == "config" else size,
            min_face_size=min_face_size,
            large_faces=large_faces,
            max_pixels=max_pixels,
        )
        super().__init__(
            policy,
            score_threshold=score_threshold,
            nms_threshold=nms_threshold,
            max_faces=max_faces,
        )

    def _open_network(
        self, asked: Asked, runtime: Runtime, threads: int | None
    ) -> OnnxNetwork | None:
        """The network on ONNX Runtime; None: PyTorch is to be used, by "auto".

        Raises:
            ValueError, ImportError, FileNotFoundError: see the class.
        """
        reason = asked.reason_for_torch()
        shipped = None if reason else find_shipped_model(self._model_name)
        if shipped is not None and shipped.graph is not None:
            return open_network(shipped, asked.device, runtime, threads)
        if runtime == "onnx":
            missing = f"the model {self._model_name!r} has no graph: tools/package_weights.py"
            raise ValueError(
                f"runtime 'onnx', ONNX Runtime, cannot be used: {reason or missing + ' makes it'}"
            )
        return None

    def _load_predictor(
        self,
        config_file: "str | os.PathLike | CfgNode | None",
        weights: str | os.PathLike | None,
        device: "str | torch.device",
        multi_scale: bool,
        threads: int | None,
    ) -> None:
        """Build the network in PyTorch; arguments are those of the class."""
        import_heavy("srn_d2.inference.predictor")
        import torch

        from .predictor import FacePredictor

        self._cfg = load_cfg(self._model_name, config_file, weights)
        _configure(self._cfg, device, self._dtype, multi_scale)
        self._device_name = self._cfg.MODEL.DEVICE
        if threads is not None:
            torch.set_num_threads(threads)
        self._predictor = FacePredictor(self._cfg)
        self.size_divisibility = self._predictor.size_divisibility

    def _rules(self) -> tuple[tuple[float, ...], float, float, int]:
        """Anchor sizes, largest face, threshold of NMS and maximum number of faces."""
        if self._network is not None:
            of = self._network.metadata
            return of.anchor_sizes, of.largest_face, of.nms_threshold, of.max_detections
        cfg = self.cfg
        return (
            tuple(itertools.chain(*cfg.MODEL.ANCHOR_GENERATOR.SIZES)),
            largest_learned_face(cfg),
            cfg.MODEL.SRN.NMS_THRESH_TEST,
            cfg.TEST.DETECTIONS_PER_IMAGE,
        )

    @property
    def runtime(self) -> Literal["onnx", "torch"]:
        """What computes the network: "onnx" is ONNX Runtime, "torch" PyTorch."""
        return "torch" if self._network is None else "onnx"

    @property
    def device_type(self) -> str:
        """The device without its number: "cpu", "cuda" or "mps". Imports no torch."""
        return self._device_name.split(":")[0]

    @property
    def device(self) -> "torch.device":
        """The device. Imports torch."""
        import torch

        return torch.device(self._device_name)

    @property
    def dtype(self) -> "torch.dtype":
        """The type in which the network computes. Imports torch."""
        import torch

        return getattr(torch, self._dtype)

    @property
    def cfg(self) -> "CfgNode":
        """The model's config, with the arguments of these names. Imports torch and detectron2."""
        if self._cfg is None:
            self._cfg = load_cfg(self._model_name)
            _configure(self._cfg, self._device_name, self._dtype, False)
        return self._cfg

    @property
    def metadata(self) -> ExportMetadata | None:
        """What the graph's file says of the model; None with PyTorch."""
        return None if self._network is None else self._network.metadata

    @property
    def model(self) -> "torch.nn.Module":
        """The network in PyTorch, without multi-scale testing.

        Raises:
            RuntimeError: ONNX Runtime computes it.
        """
        if self._predictor is None:
            raise RuntimeError('the network is not in PyTorch: use FaceDetector(runtime="torch")')
        return self._predictor.single_scale_model

    def _adapt_to_fork(self) -> None:
        if self._network is not None:
            self._network.adapt_to_fork()
            return
        if self.device_type != "cpu":
            raise RuntimeError(
                f"this process was forked from one whose detector is on {self._device_name!r}, "
                "which the two cannot share: build it after the fork, or start processes by "
                'multiprocessing.get_context("spawn")'
            )
        import torch

        if torch.get_num_threads() > 1:
            logger.warning(
                "This process was forked from one that has used the detector: it computes with one "
                "thread, since OpenMP's are lost by forking. For more, build the detector in the "
                'process, started by multiprocessing.get_context("spawn")'
            )
        torch.set_num_threads(1)  # with more, OpenMP waits for threads that are not there
        cv2.setNumThreads(0)

    def _views(self, image: np.ndarray) -> list[View]:
        if not self.follows_config_size or self._predictor is None:
            return self.view_policy.views(image)
        return self.view_policy.views(image, self._predictor.resize(image))

    def _detect(self, images: Sequence[np.ndarray], single_scale: bool) -> list[Detections]:
        if self._predictor is not None:
            return self._predictor.detect(images, single_scale)
        assert self._network is not None
        return self._network.detect(images, self.score_threshold)


def _configure(cfg: "CfgNode", device: "str | torch.device", dtype: str, multi_scale: bool) -> None:
    """See ``detector_config.configure``, which imports torch."""
    from .detector_config import configure

    configure(cfg, device, dtype, multi_scale)


def _check_arguments(
    size: int | str, min_face_size: float | None, dtype: str, runtime: str
) -> None:
    """Raise a ValueError for an invalid argument that only this detector has."""
    if size == "config" and min_face_size is not None:
        raise ValueError(f"min_face_size is {min_face_size}, size 'config': give one of them")
    if isinstance(size, str) and size not in ("original", "config"):
        raise ValueError(f"size is {size!r}; valid are 'original', 'config' and pixels")
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; valid are {list(DTYPES)}")
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime is {runtime!r}; valid are {list(RUNTIMES)}")


def load_cfg(
    model: str,
    config_file: "str | os.PathLike | CfgNode | None" = None,
    weights: str | os.PathLike | None = None,
) -> "CfgNode":
    """The config of a model that comes with the package or of the user's; MODEL.WEIGHTS is set.

    Arguments and errors are those of ``FaceDetector``.
    """
    import_heavy("srn_d2.config")
    from detectron2.config import CfgNode

    from srn_d2.config import build_cfg

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
