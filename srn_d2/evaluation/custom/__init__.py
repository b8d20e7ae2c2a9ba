"""Evaluation on one's own annotations: COCO-style and WIDER FACE-like AP, and reports on them."""
