"""The paper's tables (AAAI 2019, WIDER FACE validation set, ResNet-50), to stand beside ours.

AP in %. Its rows "SRN (STC only)" and "SRN (STR only)" are "stc" and "str" here.
"""

SETTINGS = ("easy", "medium", "hard")

# Row -> AP on Easy, Medium, Hard; the single-level rows' baseline is the same.
AP = {
    "retinanet": (95.1, 93.9, 88.0),
    "stc": (95.3, 94.4, 89.4),
    "str": (95.9, 94.8, 88.8),
    "stc_str": (96.1, 95.0, 90.1),
    "srn": (96.4, 95.3, 90.2),
    "stc_p2": (95.2, 94.2, 88.9),
    "stc_p3": (95.2, 94.3, 88.7),
    "stc_p4": (95.2, 94.1, 88.5),
    "stc_p5": (95.0, 93.9, 87.8),
    "stc_p6": (95.1, 93.7, 88.0),
    "stc_p7": (95.0, 93.9, 87.7),
    "str_p2": (94.8, 93.4, 87.5),
    "str_p3": (94.3, 93.7, 87.7),
    "str_p4": (94.8, 93.9, 87.0),
    "str_p5": (95.4, 94.2, 88.2),
    "str_p6": (95.7, 94.4, 88.2),
    "str_p7": (95.6, 94.6, 88.4),
}

# Row -> AP on Hard at IoU 0.5, 0.6, 0.7, 0.8.
AP_BY_IOU = {"retinanet": (88.1, 76.4, 57.8, 28.5), "str": (88.8, 83.4, 66.5, 38.2)}

# Row -> false positives at a recall of 10, 30, 50, 80, 90 and 95 %.
FALSE_POSITIVES = {
    "retinanet": (3, 24, 126, 2801, 27644, 466534),
    "stc": (1, 20, 101, 2124, 13163, 103586),
}

# Row -> positives and negatives of the second step in training, an image.
ANCHORS = {
    "retinanet": (22, 339700),
    "stc": (22, 8895),
    "str": (69, 339700),
    "srn": (69, 8895),
}
