"""COCO-style AP of faces."""
