"""``srn-d2 evaluate --protocol fddb|afw|pascal``: detection files against annotation files.

Needs neither images nor torch nor detectron2.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srn_d2.evaluation.widerface.face_report import FaceReport

PROTOCOLS = ("widerface", "fddb", "afw", "pascal")
TITLES = {"afw": "AFW", "pascal": "PASCAL face"}
NUM_SHOWN = 3  # images that a warning names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the protocol, and those of the protocols besides WIDER FACE."""
    parser.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        default="widerface",
        help="the benchmark (default: widerface); fddb: --annotations is the folder of the "
        "ellipse lists; afw, pascal: a .mat",
    )
    parser.add_argument(
        "--image-sizes",
        metavar="FILE",
        help='fddb: lines "image width height" (default: image_sizes.txt beside the annotations '
        "or in the folder of predictions)",
    )
    parser.add_argument(
        "--curves",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="fddb: published ROC files for the plots; continuous ones have Cont in their name",
    )


def run(args: argparse.Namespace) -> None:
    """Evaluate, print the table and write the report.

    Args:
        args: those of ``srn-d2 evaluate``.

    Raises:
        OSError, ValueError, ImportError: the input cannot be used.
    """
    args.annotations = args.annotations or args.ground_truth
    if not args.annotations:
        raise ValueError(f"--protocol {args.protocol} needs --annotations")
    if args.protocol != "fddb" and (args.image_sizes or args.curves):
        raise ValueError("--image-sizes and --curves are for --protocol fddb")
    if args.output and Path(args.output).exists() and not Path(args.output).is_dir():
        raise ValueError(f"--output {args.output} is a file: a folder is needed")
    predictions = named_paths([*args.predictions, *args.compare])
    evaluate = _evaluate_fddb if args.protocol == "fddb" else _evaluate_voc_ap
    table, paths = evaluate(args, predictions)
    print(table)
    if paths:
        print("Written:", *paths, sep="\n  ")


def write_wider_face_curves(
    reports: Sequence["FaceReport"], folder: str, protocol: str = "widerface"
) -> Path:
    """Write results.json: the protocol's curves of each method and setting in full precision."""
    from srn_d2.evaluation.widerface.face_report import OFFICIAL_IOU

    methods = {}
    for report in reports:
        methods[report.name] = {
            setting: {
                "ap": results[OFFICIAL_IOU].ap,
                "counted_faces": results[OFFICIAL_IOU].num_faces,
                "recall": results[OFFICIAL_IOU].recall.tolist(),
                "precision": results[OFFICIAL_IOU].precision.tolist(),
            }
            for setting, results in report.results.items()
            if OFFICIAL_IOU in results
        }
    path = Path(folder) / "results.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"protocol": protocol, "methods": methods}), encoding="utf-8")
    return path


def named_paths(values: list[str]) -> dict[str, Path]:
    """Label -> path of values like "NAME=PATH" or "PATH", which is labelled by its name.

    Raises:
        ValueError: a label is there twice.
    """
    paths: dict[str, Path] = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not separator or Path(value).exists():
            name, path = Path(value).stem or value, value
        if name in paths:
            raise ValueError(f"{name!r} names two methods: use NAME=PATH")
        paths[name] = Path(path)
    return paths


def _evaluate_fddb(
    args: argparse.Namespace, predictions: dict[str, Path]
) -> tuple[str, list[Path]]:
    from srn_d2.evaluation.fddb.files import (
        read_curve,
        read_detections,
        read_ellipses,
        read_sizes,
    )
    from srn_d2.evaluation.fddb.report import evaluate_detections, to_markdown, write_report

    faces = read_ellipses(args.annotations)
    if args.image_list:
        faces = _selected(faces, args.image_list)
        if not any(map(len, faces.values())):
            raise ValueError(f"{args.image_list}: there is no face in these images")
    sizes_file = _sizes_file(args, predictions)
    sizes = read_sizes(sizes_file)
    published: dict[str, dict[str, Any]] = {"discrete": {}, "continuous": {}}
    for name, path in named_paths(args.curves).items():
        rates, false_positives = read_curve(path)
        kind = "continuous" if "cont" in path.name.lower() else "discrete"
        published[kind][name] = (false_positives, rates)
    methods = {}
    for name, path in predictions.items():
        methods[name] = evaluate_detections(read_detections(path), faces, sizes, sizes_file)
        _check_images(name, path, methods[name], faces)
    about = {"protocol": "fddb", "annotations": args.annotations, "num_images": len(faces)}
    table = to_markdown(methods)
    return table, write_report(Path(args.output), methods, published, about) if args.output else []


def _evaluate_voc_ap(
    args: argparse.Namespace, predictions: dict[str, Path]
) -> tuple[str, list[Path]]:
    from srn_d2.evaluation.voc_ap.files import read_faces, read_toolbox_detections
    from srn_d2.evaluation.voc_ap.report import evaluate_detections, to_markdown, write_report

    faces = read_faces(args.annotations)
    if args.image_list:
        faces = _selected(faces, args.image_list)
    methods = {}
    for name, path in predictions.items():
        methods[name] = evaluate_detections(read_toolbox_detections(path), faces)
        _check_images(name, path, methods[name], faces)
    title, annotations = TITLES[args.protocol], args.annotations
    about = {"protocol": args.protocol, "annotations": annotations, "num_images": len(faces)}
    table = to_markdown(title, annotations, methods)
    paths = (
        write_report(Path(args.output), title, annotations, methods, about) if args.output else []
    )
    return table, paths


def _selected(faces: dict[str, Any], path: str) -> dict[str, Any]:
    """The images of a list, one a line, with or without suffix."""
    from srn_d2.data.annotation_files import shown, without_image_suffix

    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no list of images {path}")
    names = {}  # line of each
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            names[without_image_suffix(line.strip())] = number
    unknown = [name for name in names if name not in faces]
    if unknown:
        raise ValueError(
            f"{path}, line {names[unknown[0]]}: {shown(unknown[0])} is not annotated; "
            f"{len(unknown)} of {len(names)} images are not"
        )
    if not names:
        raise ValueError(f"{path}: names no image")
    return {name: faces[name] for name in names}


def _sizes_file(args: argparse.Namespace, predictions: dict[str, Path]) -> Path:
    if args.image_sizes:
        return Path(args.image_sizes)
    annotations = Path(args.annotations)
    folders = [annotations, annotations.parent, *predictions.values()]
    for folder in folders:
        if (folder / "image_sizes.txt").is_file():
            return folder / "image_sizes.txt"
    raise ValueError('fddb needs --image-sizes FILE with lines "image width height"')


def _check_images(name: str, path: Path, method: Any, faces: dict[str, Any]) -> None:
    """Count and name the images of a method that do not fit the annotations."""
    num_images = len(faces)
    if len(method.missing_images) == num_images:
        others = f"{len(method.unknown_images)} others, {_listed(method.unknown_images)}"
        raise ValueError(
            f"{path}: has none of the {num_images} annotated images, {_listed(list(faces))}; "
            f"it has {others if method.unknown_images else 'no image at all'}"
        )
    for images, problem in (
        (method.unknown_images, "are not annotated; their detections are left out"),
        (method.missing_images, f"of {num_images} annotated ones have no detections"),
    ):
        if images:
            print(
                f"warning: {name}: {len(images)} images {problem}: {_listed(images)}",
                file=sys.stderr,
            )


def _listed(images: list[str]) -> str:
    return ", ".join(images[:NUM_SHOWN]) + (", ..." if len(images) > NUM_SHOWN else "")
