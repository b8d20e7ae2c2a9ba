"""What the Python interface, the command line and the page have in common. Needs no package."""

SCORE_THRESHOLD = 0.45
"""Near the best F1 of "lite" on the faces of WIDER FACE's Hard: see its model card."""
