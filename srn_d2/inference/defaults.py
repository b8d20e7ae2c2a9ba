"""Defaults of the Python interface, the command line and the web page. Needs no package."""

SCORE_THRESHOLD = 0.45
"""Some 88 % precision, near the best F1, of "lite" on WIDER FACE's Hard: see its model card."""
