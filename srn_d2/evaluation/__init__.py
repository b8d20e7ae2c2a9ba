"""Evaluation protocols of face detection as functions of arrays and as detectron2 evaluators."""

from .build import build_evaluator
from .coco_face_evaluation import CocoFaceEvaluator

__all__ = ["CocoFaceEvaluator", "build_evaluator"]
