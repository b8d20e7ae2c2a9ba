"""A trained model with its export metadata."""

import hashlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils.file_io import PathManager

from srn_d2 import __version__
from srn_d2.inference.detector import load_cfg
from srn_d2.inference.large_faces import largest_learned_face
from srn_d2.inference.predictor import FacePredictor
from srn_d2.modeling import LEVELS, SRN
from srn_d2.modeling.postprocessing import (
    FEW_CELLS,
    POSTPROCESSINGS,
    SCORE_SIZE_LIMITS,
    SCORE_SIZE_REFERENCE,
)

from .dense_network import DenseNetwork
from .metadata import ExportMetadata
from .tracing import NotExportableError

INPUT_FORMAT = "uint8 (N, 3, H, W), RGB, 0 to 255, any N, H and W"


@dataclass(frozen=True)
class ExportableModel:
    """A model to export.

    Attributes:
        network: the network, in float32 on the CPU.
        name: name of the model, for the export metadata.
        weights_sha256: SHA-256 of the weights file; "" if unknown.
        anchor_sizes: square roots of the anchors' areas, in pixels.
        largest_face: size of the largest faces that the network finds, likewise.
    """

    network: DenseNetwork
    name: str
    weights_sha256: str
    anchor_sizes: tuple[float, ...]
    largest_face: float

    @property
    def model(self) -> SRN:
        return self.network.model

    @classmethod
    def load(
        cls,
        model: str = "lite",
        config_file: str | os.PathLike | CfgNode | None = None,
        weights: str | os.PathLike | None = None,
    ) -> "ExportableModel":
        """Load a packaged model or the user's own; arguments are those of ``FaceDetector``.

        Raises:
            NotExportableError: MODEL.META_ARCHITECTURE is not SRN.
            ValueError, FileNotFoundError: as ``FaceDetector``.
        """
        cfg = load_cfg(model, config_file, weights)
        if cfg.MODEL.META_ARCHITECTURE != "SRN":
            raise NotExportableError(
                f"only SRN can be exported, not MODEL.META_ARCHITECTURE "
                f"{cfg.MODEL.META_ARCHITECTURE!r}"
            )
        cfg.MODEL.DEVICE = "cpu"
        cfg.TEST.SRN_TTA.ENABLED = False
        # Full precision, and the same graph whatever the first step filters.
        cfg.SOLVER.CPU_BFLOAT16 = cfg.TEST.BFLOAT16 = False
        cfg.MODEL.SRN.SECOND_STEP = "dense"
        predictor = FacePredictor(cfg)
        if config_file is not None:
            is_config = isinstance(config_file, CfgNode)
            model = Path(cfg.OUTPUT_DIR if is_config else config_file).stem
        return cls.of(predictor.single_scale_model, cfg, model, _sha256(cfg.MODEL.WEIGHTS))

    @classmethod
    def of(cls, model: SRN, cfg: CfgNode, name: str, weights_sha256: str = "") -> "ExportableModel":
        """Wrap a built model, in evaluation mode on the CPU.

        Args:
            cfg: config of the model.
        """
        return cls(
            network=DenseNetwork(model, cfg.INPUT.FORMAT).eval(),
            name=name,
            weights_sha256=weights_sha256,
            anchor_sizes=tuple(itertools.chain(*cfg.MODEL.ANCHOR_GENERATOR.SIZES)),
            largest_face=largest_learned_face(cfg),
        )

    def metadata(
        self, *, nms: bool, score_threshold: float, candidates_only: bool = False
    ) -> ExportMetadata:
        """The export metadata of this model.

        Args:
            nms: whether the graph ends with NMS.
            score_threshold: score threshold of the graph's NMS.
            candidates_only: whether the outputs are only the anchors that NMS gets.
        """
        rules = self.model.postprocessing
        [kind] = [name for name, known in POSTPROCESSINGS.items() if type(rules) is known]
        return ExportMetadata(
            project_version=__version__,
            model=self.name,
            weights_sha256=self.weights_sha256,
            class_names=("face",),
            input_format=INPUT_FORMAT,
            nms=nms,
            graph_threshold=score_threshold if nms else 0.0,
            score_threshold=rules.score_threshold,
            postprocessing=kind,
            topk_candidates=rules.topk_candidates,
            nms_threshold=rules.nms_threshold,
            max_detections=rules.max_detections,
            few_cells=FEW_CELLS,
            size_divisibility=self.network.divisibility,
            strides=tuple(2 ** int(level[1:]) for level in LEVELS),
            anchor_sizes=self.anchor_sizes,
            largest_face=self.largest_face,
            voting_ious=rules.voting_ious,
            candidates_only=candidates_only,
            size_exponent=rules.size_exponent,
            size_reference=SCORE_SIZE_REFERENCE,
            size_limits=SCORE_SIZE_LIMITS,
        )


def _sha256(weights: str) -> str:
    """SHA-256 of a weights file, which is downloaded if given by URL."""
    path = Path(PathManager.get_local_path(weights))
    return hashlib.sha256(path.read_bytes()).hexdigest()
