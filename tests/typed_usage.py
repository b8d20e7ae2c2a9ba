"""Uses of the interface whose types ``make lint`` checks; nothing runs it."""

from pathlib import Path
from typing import assert_type

import numpy as np

import srn_d2
from srn_d2 import Face, FaceDetector, Faces, InvalidImageError, add_srn_config, model_zoo


def find_faces(paths: list[Path], pixels: np.ndarray) -> None:
    detector = FaceDetector(score_threshold=0.3, device="cpu", size=1280)
    faces = detector("photo.jpg")
    assert_type(faces, Faces)
    assert_type(detector([pixels, *paths]), list[Faces])
    assert_type(
        detector(paths, errors="return"),
        list[Faces | InvalidImageError | OSError],
    )
    for face in faces:
        assert_type(face, Face)
        assert_type(face.box, tuple[float, float, float, float])
    assert_type(faces.to_json(), str)


def find_configs() -> None:
    assert_type(model_zoo.get_config_file("srn_R50.yaml"), str)
    assert_type(srn_d2.model_zoo.config_names(), list[str])
    add_srn_config(model_zoo.get_cfg("srn_efflite0.yaml", ["SOLVER.MAX_ITER", "9"]))
