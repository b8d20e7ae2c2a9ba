"""Metadata of an exported file."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ExportMetadata:
    """The properties of an exported model, each a JSON text under its own name.

    Attributes:
        project_version: version of srn_d2.
        model: name of the model, or of its config file.
        weights_sha256: SHA-256 of the weights file, in hexadecimal digits.
        class_names: names of class 0, ...
        input_format: description of the input.
        nms: whether the graph ends with NMS; otherwise its outputs are anchors.
        graph_threshold: score threshold of detections in the graph's NMS, beside the model's.
        score_threshold: the model's threshold of the network's scores of anchors passed to NMS.
        postprocessing: "paper" or "released", see ``MODEL.SRN.POSTPROCESSING``.
        topk_candidates: maximum number of anchors passed to NMS: of an image ("paper"), of a level
            ("released").
        nms_threshold: IoU above which NMS removes the weaker box.
        max_detections: maximum number of detections of an image.
        few_cells: "released": a level of fewer cells has no score threshold.
        size_divisibility: multiple, in pixels, to which the graph pads height and width.
        strides: strides of the levels, in pixels.
        anchor_sizes: square roots of the anchors' areas, in pixels.
        largest_face: size of the largest faces that the network finds, see
            :mod:`srn_d2.inference.large_faces`.
        voting_ious: of ``MODEL.SRN.BOX_VOTING_IOUS_TEST``; files of before 2026-12 lack it.
        candidates_only: without NMS, whether the outputs are not all anchors of an image but its
            best, ``topk_candidates`` or fewer, by descending score; older files lack it.
        size_exponent: of ``MODEL.SRN.SCORE_SIZE_EXPONENT_TEST``. The scores of a file with NMS have
            been changed by it; those of a file without are the network's, and the caller changes
            them before NMS. Older files lack it and the next two.
        size_reference: size in pixels of a box whose score does not change.
        size_limits: sizes in pixels beyond which scores do not change any further.
    """

    project_version: str
    model: str
    weights_sha256: str
    class_names: tuple[str, ...]
    input_format: str
    nms: bool
    graph_threshold: float
    score_threshold: float
    postprocessing: str
    topk_candidates: int
    nms_threshold: float
    max_detections: int
    few_cells: int
    size_divisibility: int
    strides: tuple[int, ...]
    anchor_sizes: tuple[float, ...]
    largest_face: float
    voting_ious: tuple[float, ...] = ()
    candidates_only: bool = False
    size_exponent: float = 0.0
    size_reference: float = 16.0
    size_limits: tuple[float, ...] = (8.0, 48.0)

    def to_properties(self) -> dict[str, str]:
        return {name: json.dumps(value) for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> "ExportMetadata":
        """
        Raises:
            ValueError: some are missing: the file was not written by this project's export.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        names = [name for name in fields if name in properties]
        missing = [
            name
            for name, field in fields.items()
            if name not in properties and field.default is dataclasses.MISSING
        ]
        if missing:
            raise ValueError(f"it has no {', '.join(missing)}: srn-d2 export did not write it")
        values = {name: json.loads(properties[name]) for name in names}
        lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
        return cls(**values | lists)
