"""Evaluation protocols of face detection as functions of arrays and as detectron2 evaluators."""

from srn_d2.evaluation.coco.evaluator import CocoFaceEvaluator
from srn_d2.evaluation.voc_ap.evaluator import VocApEvaluator
from srn_d2.evaluation.widerface.evaluator import WiderFaceEvaluator

from .build import build_evaluator

__all__ = ["CocoFaceEvaluator", "VocApEvaluator", "WiderFaceEvaluator", "build_evaluator"]
