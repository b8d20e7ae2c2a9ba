"""``srn-d2 evaluate --annotations FILE``: predictions against one's own annotations."""

import argparse
import dataclasses
import logging
from pathlib import Path

from srn_d2.data.annotation_files import read_annotation_text
from srn_d2.evaluation.custom.annotations import AnnotatedImages, read_annotated_images
from srn_d2.evaluation.custom.measure import HEADING, average_precision_at_half, measure_custom
from srn_d2.evaluation.predictions.column_checks import with_checks
from srn_d2.evaluation.predictions.found import examples
from srn_d2.evaluation.predictions.image_names import ImageNames
from srn_d2.evaluation.predictions.sources import read_source
from srn_d2.evaluation.widerface.face_report import FaceReport
from srn_d2.evaluation.widerface.report import to_markdown, write_report

from . import evaluate_protocols
from .evaluate import named_predictions, reading_options


def evaluate_custom(args: argparse.Namespace) -> list[FaceReport]:
    """Print the tables that the command line asks for, and write the report.

    Raises:
        OSError, ValueError: the input cannot be used.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("srn_d2.data").setLevel(logging.INFO)
    annotated = read_annotated_images(
        args.annotations,
        args.image_root,
        categories=args.categories,
        box_format=args.box_format,
        allow_size_mismatch=args.allow_size_mismatch,
    )
    if args.image_list:
        annotated = select_images(annotated, args.image_list)
    if not sum(faces.num_counted for faces in annotated.faces.values()):
        raise ValueError(f"{args.annotations}: there is no face to find")
    options = reading_options(args)
    reports = []
    for name, path in named_predictions(args).items():
        found = read_source(path, annotated.images, **options)
        report = measure_custom(name, found.predictions, annotated, args.iou)
        reports.append(
            with_checks(
                report,
                found,
                annotated.images,
                lambda predictions, ids: average_precision_at_half(predictions, annotated, ids),
            )
        )
    print(to_markdown(reports, HEADING))
    if args.output:
        curves = evaluate_protocols.write_wider_face_curves(reports, args.output, "custom")
        print("Written:", *write_report(reports, args.output, HEADING), curves, sep="\n  ")
    return reports


def select_images(annotated: AnnotatedImages, path: str) -> AnnotatedImages:
    """The images that a text file names, one a line.

    Raises:
        ValueError: a name is of no image, or of several.
    """
    lines = read_annotation_text(Path(path)).split("\n")
    names = [line.strip() for line in lines if line.strip()]
    found = annotated.images.match(names)
    if found.unknown or found.ambiguous or not found.images:
        wrong = [*found.unknown, *found.ambiguous]
        raise ValueError(
            f"{path}: {len(wrong)} of {len(names)} names are not of one annotated image each: "
            f"{examples(wrong)}"
        )
    chosen = set(found.images.values())
    images = annotated.images
    return dataclasses.replace(
        annotated,
        faces={i: faces for i, faces in annotated.faces.items() if i in chosen},
        images=ImageNames({i: n for i, n in images.names.items() if i in chosen}, images.size),
    )
