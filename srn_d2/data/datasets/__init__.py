"""Data sets: readers of annotations, and their registration with detectron2."""
