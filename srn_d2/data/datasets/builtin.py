"""Registration of the data sets that the configs name, under $DETECTRON2_DATASETS."""

import os
from pathlib import Path

from .benchmarks import register_benchmarks
from .common import dataset_root, register_face_dataset
from .toy_faces import TOY_SPLITS, load_toy_faces, toy_folder
from .wider_face import load_wider_face, load_wider_face_test

# Split -> its annotation file (for test, its list of images).
WIDER_FACE_SPLITS = {
    "train": "wider_face_train_bbx_gt.txt",
    "val": "wider_face_val_bbx_gt.txt",
    "test": "wider_face_test_filelist.txt",
}


def register_wider_face(root: str | os.PathLike) -> None:
    """Register widerface_{train,val,test}; ``root`` is the folder in the official layout."""
    root = Path(root).absolute()
    for split, file_name in WIDER_FACE_SPLITS.items():
        load = load_wider_face_test if split == "test" else load_wider_face
        image_root = root / f"WIDER_{split}" / "images"
        annotation_file = root / "wider_face_split" / file_name
        register_face_dataset(
            f"widerface_{split}",
            lambda load=load, images=image_root, file=annotation_file: load(images, file),
            evaluator_type="widerface",
            image_root=str(image_root),
            annotation_file=str(annotation_file),
            ground_truth_dir=str(root / "ground_truth"),
        )


def register_toy_faces(root: str | os.PathLike) -> None:
    """Register toyface_{train,val}, which are drawn below ``root`` when they are first loaded."""
    for split in TOY_SPLITS:
        register_face_dataset(
            f"toyface_{split}",
            lambda split=split: load_toy_faces(root, split),
            evaluator_type="coco_face",
            image_root=str(toy_folder(root) / f"WIDER_{split}" / "images"),
        )


def register_builtin_datasets(root: str | os.PathLike | None = None) -> None:
    """Register everything below ``root``, by default $DETECTRON2_DATASETS or ./datasets.

    Importing ``srn_d2.data.datasets`` calls it: the variable is read then, as detectron2 reads it
    for its own data sets; call it again to move to another folder.
    """
    root = dataset_root() if root is None else Path(root).absolute()
    register_wider_face(root / "widerface")
    register_toy_faces(root / "toyface")
    register_benchmarks(root)
