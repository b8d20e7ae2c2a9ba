"""Evaluation protocols of face detection as functions of arrays and as detectron2 evaluators."""

from .build import build_evaluator
from .coco_face_evaluation import CocoFaceEvaluator
from .simple_ap_evaluation import SimpleApEvaluator
from .wider_face_evaluation import WiderFaceEvaluator

__all__ = ["CocoFaceEvaluator", "SimpleApEvaluator", "WiderFaceEvaluator", "build_evaluator"]
