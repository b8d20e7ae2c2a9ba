"""The detector options of the commands, and construction of the detector from them."""

import argparse
import logging
from typing import TYPE_CHECKING, Any

from srn_d2.inference.defaults import SCORE_THRESHOLD
from srn_d2.model_files import shipped_model_names

from .arguments import positive, score

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from srn_d2.inference.detector import FaceDetector

logger = logging.getLogger(__name__)


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Add --model, --config-file and --weights, as ``load_cfg`` takes them."""
    parser.add_argument(
        "--model", default="lite", help=f"{' or '.join(shipped_model_names())} (default: lite)"
    )
    parser.add_argument("--config-file", metavar="FILE", help="a config instead of --model")
    parser.add_argument(
        "--weights", metavar="FILE", help="a checkpoint (default: the config's MODEL.WEIGHTS)"
    )


def add_detector_arguments(group: argparse._ArgumentGroup, max_megapixels: float = 100.0) -> None:
    """Add the options of ``build_detector``, and --threshold."""
    add_model_arguments(group)
    group.add_argument(
        "--device",
        help="auto, cpu, cuda, cuda:1 (default: auto; with --config-file its MODEL.DEVICE, "
        "but cpu without CUDA)",
    )
    group.add_argument(
        "--threshold",
        type=score,
        default=SCORE_THRESHOLD,
        metavar="P",
        help="lowest score (default: %(default)g)",
    )
    _add_size_arguments(group)
    group.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        help="compute in bfloat16: fast on processors that have it, see srn-d2 doctor (default: "
        "no; with --config-file as its TEST.BFLOAT16 and SOLVER.CPU_BFLOAT16 say)",
    )
    group.add_argument(
        "--runtime",
        choices=("auto", "onnx", "torch"),
        default="auto",
        help="what computes the network on a CPU in float32, with the same faces: onnx is ONNX "
        "Runtime, which of a --config-file or with --multi-scale computes the dense part and needs "
        "the extra export; auto takes it for a --model, and for many inputs where it can be used",
    )
    group.add_argument(
        "--multi-scale",
        action=argparse.BooleanOptionalAction,
        help="multi-scale testing: slow, finds more (default: no; with --config-file its "
        "TEST.SRN_TTA.ENABLED)",
    )
    group.add_argument(
        "--no-large-faces",
        action="store_true",
        help="no passes over downscaled images for large faces",
    )
    group.add_argument(
        "--max-megapixels",
        type=positive,
        default=max_megapixels,
        metavar="N",
        help="refuse larger pictures (default: %(default)g)",
    )


def _add_size_arguments(group: argparse._ArgumentGroup) -> None:
    size = group.add_mutually_exclusive_group()
    size.add_argument(
        "--size",
        type=image_size,
        default="original",
        metavar="N",
        help="longer side in pixels of the network's input, original (default), or config: as "
        "INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST say",
    )
    size.add_argument(
        "--min-face-size",
        type=float,
        metavar="N",
        help="resize so that faces of N pixels are the smallest found: large N is fast",
    )


def image_size(text: str) -> int | str:
    """ "original", "config" or pixels."""
    return text if text in ("original", "config") else int(text)


def user_config(args: argparse.Namespace) -> "CfgNode | None":
    """Build the config of --config-file with the KEY VALUE pairs; None for an installed model.

    Raises:
        ValueError: pairs without a config file, or see ``build_cfg``.
        FileNotFoundError, KeyError: see ``build_cfg``.
    """
    if args.config_file is None:
        if args.opts:
            raise ValueError(f"{' '.join(args.opts)}: KEY VALUE pairs need a --config-file")
        return None
    from srn_d2.config import build_cfg

    return build_cfg(args.config_file, args.opts)


def build_detector(
    args: argparse.Namespace,
    score_threshold: float,
    *,
    threads: int | None = None,
    is_long: bool = False,
) -> "FaceDetector":
    """Build the detector that ``add_detector_arguments``' options describe.

    Args:
        args: the options.
        score_threshold: minimum score of a face.
        threads: number of threads of the network on a CPU; None: all cores.
        is_long: whether there is so much to do that ``--runtime auto`` exports the dense part of a
            network in PyTorch to ONNX Runtime, which takes seconds.

    Raises:
        ValueError, FileNotFoundError, RuntimeError, ImportError: see ``FaceDetector``,
            ``user_config`` and ``use_onnx_runtime``.
    """
    from srn_d2 import FaceDetector

    cfg = user_config(args)
    settings = {"device": "auto", "bfloat16": False, "multi_scale": False}
    if cfg is not None:
        settings = _config_settings(cfg, args.device)
    for name in settings:
        if getattr(args, name) is not None:
            settings[name] = getattr(args, name)
    # What the graphs of the package's models cannot do.
    needs_torch = cfg is not None or settings["multi_scale"] or args.size == "config"
    detector = FaceDetector(
        args.model,
        config_file=cfg,
        weights=args.weights,
        device=settings["device"],
        score_threshold=score_threshold,
        size=args.size,
        min_face_size=args.min_face_size,
        dtype="bfloat16" if settings["bfloat16"] else "float32",
        multi_scale=settings["multi_scale"],
        large_faces=not args.no_large_faces,
        max_pixels=int(args.max_megapixels * 1e6),
        runtime="torch" if needs_torch else args.runtime,
        threads=threads,
    )
    if detector.runtime == "torch":
        _use_onnx_for_dense_part(detector, args.runtime, threads, is_long)
    return detector


def _use_onnx_for_dense_part(
    detector: "FaceDetector", runtime: str, threads: int | None, is_long: bool
) -> None:
    """Have ONNX Runtime compute the dense part of a network in PyTorch, as --runtime asks for.

    Raises:
        ValueError, ImportError: --runtime onnx cannot be used, see ``use_onnx_runtime``.
    """
    if runtime == "torch" or (runtime == "auto" and not is_long):
        return
    from srn_d2.export.onnx_first_step import use_onnx_runtime

    try:
        use_onnx_runtime(detector.model, threads)
    except (ImportError, ValueError) as error:
        if runtime == "onnx":
            raise
        logger.debug("Without ONNX Runtime: %s", error)


def _config_settings(cfg: "CfgNode", device: str | None) -> dict[str, Any]:
    """Device, precision and multi-scale testing of a config.

    Args:
        cfg: the user's config.
        device: device of the command line, if given; the precision depends on it.
    """
    import torch

    from srn_d2.bfloat16 import resolve_cpu_bfloat16

    has_cuda = torch.cuda.is_available()
    config_device = cfg.MODEL.DEVICE if has_cuda else "cpu"
    on_cpu = (device or config_device) == "cpu" or not has_cuda
    in_bfloat16 = cfg.TEST.BFLOAT16 or (on_cpu and resolve_cpu_bfloat16(cfg.SOLVER.CPU_BFLOAT16))
    return {
        "device": config_device,
        # No other architecture reads these keys.
        "bfloat16": in_bfloat16 and cfg.MODEL.META_ARCHITECTURE == "SRN",
        "multi_scale": cfg.TEST.SRN_TTA.ENABLED,
    }
