"""The toy data set: drawn people in WIDER FACE's layout, made on first use, no download.

``toyface_train`` has 200 pictures and ``toyface_val`` 50. The same seed and library versions
give the same bytes on every machine.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .toy_scenes import SCENE_KINDS, draw_scene
from .wider_face import WiderImage, load_wider_face, write_wider_annotations

# Part of the folder's name: raise it when the pictures change.
TOY_VERSION = 1
# Split -> number of pictures.
TOY_SPLITS = {"train": 200, "val": 50}


def toy_folder(root: str | os.PathLike) -> Path:
    """The folder below ``root`` with this version's pictures, in WIDER FACE's layout."""
    return Path(root).absolute() / f"v{TOY_VERSION}"


def load_toy_faces(root: str | os.PathLike, split: str) -> list[dict[str, Any]]:
    """Load "train" or "val" as :func:`load_wider_face` does, drawing the set if it isn't there.

    Args:
        root: such as ``$DETECTRON2_DATASETS/toyface``.
    """
    folder = ensure_toy_faces(root)
    return load_wider_face(folder / f"WIDER_{split}" / "images", annotation_file(folder, split))


def annotation_file(folder: Path, split: str) -> Path:
    """Path of a split's annotations in WIDER FACE's layout."""
    return folder / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt"


def ensure_toy_faces(root: str | os.PathLike) -> Path:
    """Draw the set below ``root`` unless it is there; returns :func:`toy_folder`.

    The set is drawn beside its place and moved there in one step: a process that is killed
    leaves no half set, and of several that draw at the same time the first one's set stays.

    Raises:
        PermissionError: the folder cannot be written; the message says which, and the remedy.
    """
    folder = toy_folder(root)
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.draft-", dir=folder.parent))
    except OSError as error:
        raise PermissionError(
            f"The toy data set cannot be written to {folder}: {error}. Set the environment "
            "variable DETECTRON2_DATASETS to a folder that can be written."
        ) from error
    try:
        for split in TOY_SPLITS:
            draw_toy_split(draft, split)
        draft.chmod(0o755)  # mkdtemp's folders are private
        draft.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was faster
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def draw_toy_split(folder: Path, split: str) -> None:
    """Draw the pictures of a split and write its annotations below ``folder``."""
    image_root = folder / f"WIDER_{split}" / "images"
    for kind in SCENE_KINDS:
        (image_root / kind.event).mkdir(parents=True)
    images = [draw_toy_image(image_root, split, i) for i in range(TOY_SPLITS[split])]
    annotations = annotation_file(folder, split)
    annotations.parent.mkdir(exist_ok=True)
    write_wider_annotations(annotations, images)


def draw_toy_image(image_root: Path, split: str, index: int) -> WiderImage:
    """Draw picture ``index`` of a split and save it; a function of these two alone."""
    rng = np.random.default_rng([TOY_VERSION, list(TOY_SPLITS).index(split), index])
    kind = SCENE_KINDS[index % len(SCENE_KINDS)]
    pixels, faces = draw_scene(kind, rng)
    name = f"{kind.event}/{kind.event.replace('--', '_')}_{index:03d}.jpg"
    Image.fromarray(pixels).save(image_root / name, quality=int(rng.integers(80, 96)))
    return WiderImage(name, tuple(faces))
