"""Registration of the benchmarks fddb, afw and pascal_face; folders: see datasets/README.md."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .afw import load_afw_mat
from .common import README_HINT, dataset_root, register_face_dataset
from .custom import load_faces
from .fddb import load_fddb
from .pascal_face import load_toolbox_mat, load_voc_faces
from .wider_face import load_wider_face

Loader = Callable[[Path, Path], list[dict[str, Any]]]

# Annotations below the benchmark's folder -> their reader; the first existing one is read.
COMMON_ANNOTATIONS: dict[str, Loader] = {
    "annotations.txt": load_wider_face,
    "annotations.json": lambda image_root, path: load_faces(path, image_root),
    "Annotations": load_voc_faces,
}
# Published figures of AFW are of the toolbox's new annotations, in which 473 faces count; anno.mat
# has 468 faces.
AFW_ANNOTATIONS: dict[str, Loader] = {
    "new_annotations_AFW.mat": load_toolbox_mat,
    "anno.mat": load_afw_mat,
    "testimages/anno.mat": load_afw_mat,
    **COMMON_ANNOTATIONS,
}
PASCAL_FACE_ANNOTATIONS: dict[str, Loader] = {
    "Annotations_Face_PASCALLayout_large_fixed.mat": load_toolbox_mat,
    "Annotations_Face_PASCALLayout_large.mat": load_toolbox_mat,
    **COMMON_ANNOTATIONS,
}
# Image folders below the benchmark's folder; the first existing one is used.
IMAGE_FOLDERS = ("images", "testimages", "JPEGImages")


def load_benchmark(
    root: str | os.PathLike, annotations: Mapping[str, Loader]
) -> list[dict[str, Any]]:
    """Load the data set below ``root``, from the first existing file of ``annotations``.

    Each image's dict names it in "annotation_file".

    Raises:
        FileNotFoundError: none of them, none of ``IMAGE_FOLDERS``, or not every image exists.
        AnnotationFormatError: the annotations are damaged.
    """
    root = Path(root).absolute()
    annotation = _first_present(root, annotations)
    images = annotations[annotation](root / _first_present(root, IMAGE_FOLDERS), root / annotation)
    for image in images:
        image["annotation_file"] = str(root / annotation)
    return images


def register_benchmarks(root: str | os.PathLike | None = None) -> None:
    """Register fddb, afw and pascal_face below ``root``, by default $DETECTRON2_DATASETS."""
    root = dataset_root() if root is None else Path(root).absolute()
    loaders = {
        "fddb": load_fddb,
        "afw": lambda folder: load_benchmark(folder, AFW_ANNOTATIONS),
        "pascal_face": lambda folder: load_benchmark(folder, PASCAL_FACE_ANNOTATIONS),
    }
    for name, load in loaders.items():
        register_face_dataset(
            name,
            lambda load=load, folder=root / name: load(folder),
            evaluator_type=name,
            image_root=str(root / name),
        )


def _first_present(root: Path, names: Mapping[str, Any] | tuple[str, ...]) -> str:
    for name in names:
        if (root / name).exists():
            return name
    raise FileNotFoundError(f"{root} has none of {', '.join(names)}; {README_HINT}.")
