"""Post-processing in NumPy: see :mod:`srn_d2.inference.array_postprocessing`."""

from srn_d2.inference.array_postprocessing import choose_detections, level_cells

__all__ = ["choose_detections", "level_cells"]
