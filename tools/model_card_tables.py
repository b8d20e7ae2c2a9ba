"""Figures of a model card from finished evaluations.

A card is a Markdown file. Its figures stand between comments that name their section,

    <!-- ap: begin -->
    <!-- ap: end -->

and the text around them is the author's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import srn_d2  # noqa: F401 -- first: hides deprecation warnings of detectron2

# isort: split
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog

from srn_d2.bfloat16 import resolve_cpu_bfloat16
from srn_d2.checkpoint.shipped_models import ShippedModel
from srn_d2.config import build_cfg
from srn_d2.evaluation.predictions.folders import read_predictions
from srn_d2.evaluation.widerface.ap import SETTINGS, WiderFaceGroundTruth, evaluate_subset
from srn_d2.evaluation.widerface.assignment import DetectionAssignments, assign_detections
from srn_d2.evaluation.widerface.evaluator import PREDICTIONS_FOLDER_NAME
from srn_d2.evaluation.widerface.face_groups import HEIGHT_BINS, attribute_faces, height_bin_faces
from srn_d2.evaluation.widerface.face_report import (
    ALL_FACES_SETTING,
    OFFICIAL_IOU,
    FaceReport,
    measure_predictions,
)
from srn_d2.evaluation.widerface.ground_truth import load_ground_truth
from srn_d2.evaluation.widerface.image_lists import read_image_list
from srn_d2.evaluation.widerface.report import ABSENT, percent, point_table, table

_SECTION = re.compile(
    r"(<!-- (?P<name>[\w-]+): begin -->\n).*?(<!-- (?P=name): end -->)", re.DOTALL
)
_BEGIN = re.compile(r"<!-- [\w-]+: begin -->")
# detectron2's line at the end of inference; batches have one image.
_SECONDS = re.compile(r"Total inference time: .*\((\d+\.\d+) s / iter per device")


@dataclass(frozen=True)
class Misses:
    """The faces of Hard, and those that no detection found at IoU 0.5, whatever its score.

    Attributes:
        name: value of an attribute, such as "blur: heavy", or "all".
        faces, missed: in each of ``HEIGHT_BINS``, then in all.
    """

    name: str
    faces: tuple[int, ...]
    missed: tuple[int, ...]


@dataclass(frozen=True)
class Evaluation:
    """A run of ``train_net.py --eval-only`` on WIDER FACE's validation set.

    Attributes:
        weights: the file's name.
        test: scales, size and precision of inference, such as "single scale, original
            size, bfloat16".
        seconds: mean over images from the run's log; None if it has none.
        report: everything that is measured on its predictions.
        misses: all faces, then the values of each attribute.
    """

    weights: str
    test: str
    seconds: float | None
    report: FaceReport
    misses: tuple[Misses, ...]


def read_evaluations(folders: Sequence[Path], model: ShippedModel) -> list[Evaluation]:
    """Measure the predictions of runs.

    Args:
        folders: each run's OUTPUT_DIR.
        model: model of the card.

    Raises:
        FileNotFoundError: a run has no config.yaml, or the data set no ground truth.
        ValueError: runs are on different data sets, or a run's predictions are missing, incomplete,
            or older than the model's weights.
    """
    cfgs = [build_cfg(str(folder / "config.yaml")) for folder in folders]
    datasets = {cfg.DATASETS.TEST[0] for cfg in cfgs}
    if len(datasets) != 1:
        raise ValueError(f"The runs are to be of one data set, they are of {sorted(datasets)}")
    [dataset] = datasets
    metadata = MetadataCatalog.get(dataset)
    ground_truth = load_ground_truth(metadata.ground_truth_dir)
    images = read_image_list(metadata.annotation_file, ground_truth)
    return [
        _read_evaluation(folder, dataset, cfg, ground_truth, images, model)
        for folder, cfg in zip(folders, cfgs, strict=True)
    ]


def _read_evaluation(
    folder: Path,
    dataset: str,
    cfg: CfgNode,
    ground_truth: WiderFaceGroundTruth,
    images: list[str],
    model: ShippedModel,
) -> Evaluation:
    weights, log = Path(cfg.MODEL.WEIGHTS).name, folder / "log.txt"
    found = read_predictions(folder / "inference" / dataset / PREDICTIONS_FOLDER_NAME, images)
    if found.missing or found.malformed:
        raise ValueError(f"{folder} is no complete evaluation: {found.warnings()[0]}")
    if weights == model.weights.name and log.stat().st_mtime < model.weights.stat().st_mtime:
        raise ValueError(f"{folder} is older than {model.weights}: evaluate these weights again")
    assignments = assign_detections(found.predictions, ground_truth.boxes, (OFFICIAL_IOU,), images)
    report = measure_predictions(weights, found.predictions, ground_truth, images=images)
    return Evaluation(
        weights=weights,
        test=describe_test(cfg),
        seconds=read_seconds(log.read_text(encoding="utf-8")),
        report=report,
        misses=tuple(count_misses(assignments, ground_truth)),
    )


def describe_test(cfg: CfgNode) -> str:
    """Description of scales, size and precision of a run's inference."""
    multi_scale, size = cfg.TEST.SRN_TTA, cfg.INPUT.MIN_SIZE_TEST
    if multi_scale.ENABLED:
        scales = f"multi-scale, `TEST.SRN_TTA.MAX_SIZE {multi_scale.MAX_SIZE}`"
    else:
        scales = f"single scale, {f'shorter side {size}' if size else 'original size'}"
    on_cpu = cfg.MODEL.DEVICE == "cpu"
    in_bfloat16 = cfg.TEST.BFLOAT16 or (on_cpu and resolve_cpu_bfloat16(cfg.SOLVER.CPU_BFLOAT16))
    return f"{scales}, {'bfloat16' if in_bfloat16 else 'float32'}{'' if on_cpu else ', GPU'}"


def read_seconds(log: str) -> float | None:
    """Seconds per image of the last inference in a run's log; None: the log has none."""
    seconds = _SECONDS.findall(log)
    return float(seconds[-1]) if seconds else None


def count_misses(
    assignments: DetectionAssignments, ground_truth: WiderFaceGroundTruth
) -> list[Misses]:
    """Count misses of all faces of Hard and of each value of each known attribute."""
    evaluated = set(assignments.image_ids)
    faces = {
        image_id: mask
        for image_id, mask in ground_truth.counted[ALL_FACES_SETTING].items()
        if image_id in evaluated
    }
    groups = {"all": faces} | {
        f"{attribute}: {value}": group
        for (attribute, value), group in attribute_faces(ground_truth.attributes, faces).items()
    }
    rows = []
    for name, group in groups.items():
        bins = [height_bin_faces(ground_truth.boxes, group, *bounds) for bounds in HEIGHT_BINS]
        results = [evaluate_subset(assignments, mask, OFFICIAL_IOU) for mask in (*bins, group)]
        total = tuple(result.num_faces for result in results)
        missed = tuple(result.num_faces - int(result.counts[-1, 1]) for result in results)
        rows.append(Misses(name, total, missed))
    return rows


def card_sections(model: ShippedModel, evaluations: Sequence[Evaluation]) -> dict[str, str]:
    """Build the Markdown of each section; those about one run are about the first.

    Args:
        model: model of the card.
        evaluations: at least one.
    """
    first = evaluations[0]
    report = first.report
    about = f"Of {first.weights}, {first.test}"
    hard = ALL_FACES_SETTING.title()
    num_faces = report.results[ALL_FACES_SETTING][OFFICIAL_IOU].num_faces
    return {
        "state": _state(model),
        "ap": f"AP in %, official protocol, on {report.num_images} images of WIDER FACE's "
        f"validation set ({num_faces:,} faces of {hard}).\n\n{_ap_table(evaluations)}",
        "iou": f"{hard} at stricter overlaps, AP in %.\n\n{_iou_table(evaluations)}",
        "heights": f"{about}: by annotated height, all faces that are not marked invalid, in %.\n\n"
        + _height_table(report),
        "misses": f"{about}: missed of the faces of {hard}, at any score, by annotated height.\n\n"
        + _miss_table(first.misses),
        "thresholds": f"{about}: scores to choose, faces of {hard}, in %.\n\n"
        + point_table(report.recommended.items(), "aim"),
    }


def _state(model: ShippedModel) -> str:
    return (
        f"{model.weights.name}: {model.describe_training()}, "
        f"{model.source['parameters'] / 1e6:.2f} M parameters, "
        f"{model.weights.stat().st_size / 1e6:.1f} MB, SHA-256 `{model.sha256}`."
    )


def _ap_table(evaluations: Sequence[Evaluation]) -> str:
    rows = [
        [
            evaluation.weights,
            evaluation.test,
            *(_ap(evaluation, setting, OFFICIAL_IOU) for setting in SETTINGS),
            ABSENT if evaluation.seconds is None else f"{evaluation.seconds:.2f}",
        ]
        for evaluation in evaluations
    ]
    names = [setting.title() for setting in SETTINGS]
    return table(["weights", "test", *names, "seconds an image"], rows)


def _iou_table(evaluations: Sequence[Evaluation]) -> str:
    thresholds = evaluations[0].report.iou_thresholds
    rows = [
        [e.weights, e.test, *(_ap(e, ALL_FACES_SETTING, t) for t in thresholds)]
        for e in evaluations
    ]
    return table(["weights", "test", *(f"IoU {t:g}" for t in thresholds)], rows)


def _ap(evaluation: Evaluation, setting: str, iou_threshold: float) -> str:
    return percent(evaluation.report.results[setting][iou_threshold].ap, 1)


def _height_table(report: FaceReport) -> str:
    rows = [
        [
            group.name,
            f"{group.num_faces:,}",
            percent(group.recall, 1),
            percent(group.ap[OFFICIAL_IOU], 1),
        ]
        for group in report.groups
        if group.kind == "height"
    ]
    return table(["height", "faces", "recall at any score", f"AP at IoU {OFFICIAL_IOU:g}"], rows)


def _miss_table(misses: Sequence[Misses]) -> str:
    rows = [
        [row.name]
        + [f"{m:,} of {n:,}" if n else ABSENT for m, n in zip(row.missed, row.faces, strict=True)]
        for row in misses
    ]
    bins = [f"from {low:g} px" for low, _ in HEIGHT_BINS]
    return table(["faces", *bins, "all"], rows)


def fill_card(text: str, sections: Mapping[str, str]) -> str:
    """Replace the figures in a card's text.

    Args:
        text: Markdown; it need not have all sections.
        sections: name -> Markdown.

    Raises:
        ValueError: the text has no section, one that is not known, or one without an end.
    """
    names = [match["name"] for match in _SECTION.finditer(text)]
    if not names or len(names) != len(_BEGIN.findall(text)):
        raise ValueError("no section <!-- NAME: begin --> ... <!-- NAME: end -->, or no end of one")
    if unknown := sorted(set(names) - set(sections)):
        raise ValueError(f"unknown sections {unknown}; there are {list(sections)}")
    return _SECTION.sub(lambda match: f"{match[1]}{sections[match['name']]}\n{match[3]}", text)
