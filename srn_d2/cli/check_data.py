"""The command ``srn-d2 check-data``: what is in annotations, and what may be wrong with them."""

import argparse
import csv
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import count

if TYPE_CHECKING:
    from srn_d2.data.annotations import FaceTable

DESCRIPTION = """Check annotations against their images, and show what is in them.

  srn-d2 check-data photos/faces.json --image-root photos
  srn-d2 check-data faces.csv --categories with_mask without_mask
  srn-d2 check-data widerface_val                   a data set of $DETECTRON2_DATASETS

Prints the numbers of images, faces, ignored and dropped boxes, histograms of sizes, aspect ratios
and faces of an image, and boxes that may be wrong. Writes contact_sheet.jpg, pictures with boxes
(faces lime, ignore regions orange, suspicious ones red), and suspicious.csv.

Exit status: 0, or 2 if the annotations cannot be used.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "check-data",
        help="check annotations against their images, and show them",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "data",
        metavar="NAME|FILE",
        help="a registered data set, an annotation file (.json, .csv, .txt), or a folder with a "
        "file for each image (Pascal VOC, labelme, YOLO)",
    )
    parser.add_argument(
        "--image-root", metavar="DIR", help="folder of the images (default: that of FILE)"
    )
    parser.add_argument(
        "--categories", nargs="+", metavar="C", help="names of categories that are all faces"
    )
    parser.add_argument(
        "--box-format",
        metavar="FORMAT",
        help="what the four numbers are: xywh, xyxy, cxcywh, in pixels, or with _fraction or "
        "_percent",
    )
    parser.add_argument(
        "--allow-size-mismatch",
        action="store_true",
        help="the file may give images another size than they have",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output/check_data"),
        metavar="DIR",
        help="folder of contact_sheet.jpg and suspicious.csv (default: %(default)s)",
    )
    parser.add_argument(
        "--num-images",
        type=count,
        default=30,
        metavar="N",
        help="pictures on the contact sheet (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the figures and write the files; returns the exit status."""
    # The line of the log is printed; it would appear twice.
    reader_logger = logging.getLogger("srn_d2.data.annotations")
    level = reader_logger.level
    reader_logger.setLevel(logging.ERROR)
    try:
        check(args)
    except (OSError, ValueError, ImportError) as error:  # ImportError: no supervision
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        reader_logger.setLevel(level)
    return 0


def check(args: argparse.Namespace) -> None:
    """Print the figures that the command line asks for, and write the files."""
    from srn_d2.data.annotations.statistics import describe, suspicious_boxes

    from .contact_sheet import write_contact_sheet

    table = _read(args)
    print(table.summary())
    if not table.num_faces:
        print("warning: there is no face in it")
    print("\n".join(describe(table)))
    suspicious = suspicious_boxes(table)
    print("suspicious boxes:" if suspicious else "no suspicious boxes")
    for why, rows in suspicious.items():
        first = table.names[table.image_of[rows[0]]]
        box = [round(number, 2) for number in table.boxes[rows[0]].tolist()]
        print(f"  {len(rows)} {why}, such as {box} in {first}")
    args.output.mkdir(parents=True, exist_ok=True)
    _write_suspicious(args.output / "suspicious.csv", table, suspicious)
    all_rows = {int(row) for rows in suspicious.values() for row in rows}
    sheet = args.output / "contact_sheet.jpg"
    number = write_contact_sheet(sheet, table, all_rows, args.num_images)
    print(f"{sheet} has {number} pictures; all suspicious boxes: {args.output / 'suspicious.csv'}")


def _read(args: argparse.Namespace) -> "FaceTable":
    from srn_d2.data.annotations import read_faces
    from srn_d2.data.annotations.reader import SUFFIXES

    path = Path(args.data)
    if path.exists() or path.suffix.lower() in SUFFIXES or len(path.parts) > 1:
        root = args.image_root or (path if path.is_dir() else path.absolute().parent)
        return read_faces(
            path,
            root,
            categories=args.categories,
            box_format=args.box_format,
            allow_size_mismatch=args.allow_size_mismatch,
        )
    options = (args.image_root, args.categories, args.box_format, args.allow_size_mismatch)
    if any(options):
        raise ValueError(
            f"{args.data} is no file, and a registered data set takes none of --image-root, "
            "--categories, --box-format, --allow-size-mismatch"
        )
    return _registered(args.data)


def _registered(name: str) -> "FaceTable":
    """The table of a registered data set, with the sizes of its images."""
    import srn_d2.data.datasets  # noqa: F401 -- registers them

    # isort: split
    from detectron2.data import DatasetCatalog

    from srn_d2.data.annotations.image_sizes import check_sizes
    from srn_d2.data.datasets.common import table_of_dicts

    if name not in DatasetCatalog:
        own = [key for key in DatasetCatalog.keys() if _is_ours(key)]  # noqa: SIM118
        raise ValueError(
            f"there is no file and no data set {name!r}; registered are {', '.join(sorted(own))}. "
            "Data sets of a script of yours are not known here: give their annotation file"
        )
    table = table_of_dicts(DatasetCatalog.get(name), name)
    check_sizes(table, allow_mismatch=True)
    table.drop_empty_boxes()
    return table


def _is_ours(name: str) -> bool:
    from detectron2.data import MetadataCatalog

    return MetadataCatalog.get(name).get("thing_classes") == ["face"]


def _write_suspicious(path: Path, table: "FaceTable", suspicious: dict) -> None:
    from srn_d2.atomic_file import atomic_path

    with (
        atomic_path(path) as draft,
        open(draft, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["file", "x", "y", "w", "h", "why"])
        for why, rows in suspicious.items():
            for row in rows.tolist():
                box = [f"{number:g}" for number in table.boxes[row].tolist()]
                writer.writerow([table.names[table.image_of[row]], *box, why])
