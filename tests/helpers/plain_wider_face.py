"""The WIDER FACE protocol once more, in plain Python and slowly: what the fast code is tested on.

Written from the rules in :mod:`srn_d2.evaluation.widerface.ap`, one box at a time as the MATLAB
code does it, in exact integers and fractions; shares no code with the package and uses no NumPy.
"""

import ctypes
import math
from fractions import Fraction

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
SMALLEST_FLOAT32, LARGEST_FLOAT32 = 2.0**-126, (2 - 2.0**-23) * 2.0**127

Box = list[float]  # x, y, w, h (and the score)


def plain_wider_face(
    predictions: dict[str, list[Box]],
    boxes: dict[str, list[list[int]]],
    counted: dict[str, list[int]],
    iou_threshold: float = 0.5,
) -> tuple[float, list[list[int]], int]:
    """(AP, 1000 x [proposals, matched faces], number of faces) of the official protocol.

    Args:
        predictions: image -> detections in the order of the file; other images than those of
            ``boxes`` are not looked at.
        boxes: image -> all faces.
        counted: image -> 1-based indices of those that count.
    """
    return accumulate(*official_choices(predictions, boxes, iou_threshold), boxes, counted)


def official_choices(
    predictions: dict[str, list[Box]], boxes: dict[str, list[list[int]]], iou_threshold: float = 0.5
) -> tuple[dict[str, list[float]], dict[str, list[int | None]]]:
    """Rules 1 to 4: each detection's normalised score and chosen face, whichever faces count."""
    detections = {i: sort_descending(predictions.get(i, [])) for i in boxes}
    choose = {
        i: [official_face(d, faces, iou_threshold) for d in detections[i]]
        for i, faces in boxes.items()
    }
    return float32_scores(detections), choose


def plain_python_port(
    predictions: dict[str, list[Box]],
    boxes: dict[str, list[list[int]]],
    counted: dict[str, list[int]],
    iou_threshold: float = 0.5,
    sort: bool = True,
) -> tuple[float, list[list[int]], int]:
    """The same as the popular Python ports compute it."""
    detections = {i: predictions.get(i, []) for i in boxes}
    if sort:
        detections = {i: sort_descending(rows) for i, rows in detections.items()}
    everything = [d[4] for rows in detections.values() for d in rows]
    low, high = min([1.0, *everything]), max([0.0, *everything])
    scores = {i: [divide(d[4] - low, high - low) for d in rows] for i, rows in detections.items()}
    choose = {
        i: [port_face(d, faces, iou_threshold) for d in detections[i]] for i, faces in boxes.items()
    }
    return accumulate(scores, choose, boxes, counted)


def accumulate(
    scores: dict[str, list[float]],
    choose: dict[str, list[int | None]],
    boxes: dict[str, list[list[int]]],
    counted: dict[str, list[int]],
) -> tuple[float, list[list[int]], int]:
    """Rules 5 to 7 from each detection's normalised score and chosen face."""
    totals = [[0, 0] for _ in range(1000)]
    num_faces = sum(len(counted[i]) for i in boxes)
    for image, faces in boxes.items():
        if not faces or not scores[image]:
            continue
        proposals, matched = [0], [0]  # after the first 0, 1, 2, ... detections
        taken: set[int] = set()
        for face in choose[image]:
            is_proposal = True
            if face is not None:
                if face + 1 in counted[image]:
                    taken.add(face)
                else:
                    is_proposal = False
            proposals.append(proposals[-1] + is_proposal)
            matched.append(len(taken))
        last = 0  # the last detection that reaches the threshold; thresholds descend
        for t in range(1, 1001):
            threshold = 1 - t / 1000
            for n in range(len(scores[image]), last, -1):
                if scores[image][n - 1] >= threshold:
                    last = n
                    break
            totals[t - 1][0] += proposals[last]
            totals[t - 1][1] += matched[last]
    precision = [divide(matched, proposals) for proposals, matched in totals]
    recall = [divide(matched, num_faces) for _, matched in totals]
    return area_under_envelope(recall, precision), totals, num_faces


def sort_descending(rows: list[Box]) -> list[Box]:
    """Rule 1: Python's sort is stable, in reverse too."""
    return sorted(rows, key=lambda row: row[4], reverse=True)


def float32_scores(detections: dict[str, list[Box]]) -> dict[str, list[float]]:
    """Rule 2, with each operation rounded to float32."""
    everything = [float32(d[4]) for rows in detections.values() for d in rows]
    low, high = min([LARGEST_FLOAT32, *everything]), max([SMALLEST_FLOAT32, *everything])
    span = float32(high - low)
    return {
        i: [float32(divide(float32(float32(d[4]) - low), span)) for d in rows]
        for i, rows in detections.items()
    }


def official_face(detection: Box, faces: list[list[int]], iou_threshold: float) -> int | None:
    """Rules 3 and 4: the face (from 0) that a detection is assigned to."""
    best, best_face = 0, None
    x1, y1, x2, y2 = *detection[:2], detection[0] + detection[2], detection[1] + detection[3]
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    corners = [int32(value) for value in (x1, y1, x2, y2)]
    for index, face in enumerate(faces):
        intersection, union = int32_intersection_union(corners, area, face)
        if intersection == 0:
            continue
        if iou_threshold == 0.5:
            quotient = INT32_MAX if union == 0 else int32(Fraction(intersection, union))
        else:
            quotient = int(divide(intersection, union) >= iou_threshold)
        if quotient > best:
            best, best_face = quotient, index
    return best_face


def int32_intersection_union(corners: list[int], area: float, face: list[int]) -> tuple[int, int]:
    """Rule 3, from a detection's rounded corners and its area that is not rounded."""
    left, top, width, height = (int(value) for value in face)
    right, bottom = saturated(left + width), saturated(top + height)
    inner_width = saturated(saturated(min(right, corners[2]) - max(left, corners[0])) + 1)
    inner_height = saturated(saturated(min(bottom, corners[3]) - max(top, corners[1])) + 1)
    if inner_width <= 0 or inner_height <= 0:
        return 0, 1
    face_area = saturated(
        saturated(saturated(right - left) + 1) * saturated(saturated(bottom - top) + 1)
    )
    intersection = saturated(inner_width * inner_height)
    return intersection, saturated(int32(face_area + area) - intersection)


def port_face(detection: Box, faces: list[list[int]], iou_threshold: float) -> int | None:
    """The face of best overlap, in floating point."""
    best, best_face = 0.0, None
    x1, y1, x2, y2 = *detection[:2], detection[0] + detection[2], detection[1] + detection[3]
    for index, (left, top, width, height) in enumerate(faces):
        inner_width = min(x2, left + width) - max(x1, left) + 1
        inner_height = min(y2, top + height) - max(y1, top) + 1
        if inner_width <= 0 or inner_height <= 0:
            continue
        intersection = inner_width * inner_height
        areas = (x2 - x1 + 1) * (y2 - y1 + 1) + (width + 1) * (height + 1)
        overlap = divide(intersection, areas - intersection)
        if overlap > best:
            best, best_face = overlap, index
    return best_face if best >= iou_threshold else None


def area_under_envelope(recall: list[float], precision: list[float]) -> float:
    """Rule 7."""
    recall, precision = [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for i in reversed(range(len(precision) - 1)):
        if math.isnan(precision[i]) or precision[i + 1] > precision[i]:
            precision[i] = precision[i + 1]
    area = 0.0
    for i in range(1, len(recall)):
        if recall[i] != recall[i - 1]:
            area += (recall[i] - recall[i - 1]) * precision[i]
    return area


def read_prediction_text(text: str) -> list[Box] | None:
    """Boxes of a file that has nothing but blanks between its numbers; None if it is invalid."""
    lines = text.split("\n")
    try:
        count = int(lines[1])
        rows = [[float(token) for token in lines[2 + k].split()] for k in range(count)]
    except (IndexError, ValueError):
        return None
    return [row[:5] for row in rows] if all(len(row) >= 5 for row in rows) else None


def int32(value: float | Fraction) -> int:
    """MATLAB's conversion: half away from zero, saturated, NaN to 0."""
    if isinstance(value, float) and not math.isfinite(value):
        return 0 if math.isnan(value) else saturated(int(math.copysign(2**40, value)))
    magnitude = math.floor(abs(Fraction(value)) + Fraction(1, 2))
    return saturated(magnitude if value >= 0 else -magnitude)


def saturated(value: int) -> int:
    """An integer as int32 arithmetic leaves it."""
    return max(INT32_MIN, min(INT32_MAX, value))


def float32(value: float) -> float:
    """Rounded to the nearest float32."""
    return ctypes.c_float(value).value


def divide(numerator: float, denominator: float) -> float:
    """IEEE division: x / 0 is infinite, 0 / 0 NaN."""
    if denominator != 0:
        return numerator / denominator
    if numerator == 0 or math.isnan(numerator):
        return math.nan
    return math.copysign(math.inf, numerator)
