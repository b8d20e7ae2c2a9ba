"""The comparison's tables, in Markdown."""

import dataclasses
import math
from collections.abc import Sequence

from benchmarks.timing import Spread
from image_lists import ALL_IMAGES, ImageList
from srn_d2.evaluation.widerface.ap import SETTINGS
from srn_d2.evaluation.widerface.face_report import OFFICIAL_IOU, FaceReport
from srn_d2.evaluation.widerface.report import ABSENT, percent, point_table, table

from .rows import Row, hard_ap


def main_table(rows: Sequence[Row], lists: Sequence[ImageList]) -> str:
    """Scale, seconds, and AP of the three settings on each list.

    Hard is bold at the best scale of a detector that has several.
    """
    best = {images.name: set(best_scales(rows, images.name).items()) for images in lists}
    body = []
    for row in rows:
        cells = [row.title, _scale(row.scale), _seconds(row.seconds)]
        for images in lists:
            cells += [_ap_cell(row, images.name, setting) for setting in SETTINGS]
            if (row.title, row.scale) in best[images.name]:
                cells[-1] = f"**{cells[-1]}**"
        body.append(cells)
    settings = [
        setting.title() if len(lists) == 1 else f"{images.name}: {setting.title()}"
        for images in lists
        for setting in SETTINGS
    ]
    return table(["detector", "scale", "seconds an image", *settings], body)


def best_scales(rows: Sequence[Row], images: str) -> dict[str, float]:
    """Title -> scale of the highest AP on Hard, of the detectors with AP at several scales.

    Of equal AP the smallest scale, which takes the least time.

    Args:
        rows: of all detectors.
        images: name of the list.
    """
    return {
        title: max(by_scale, key=lambda scale: (by_scale[scale], -scale))
        for title, by_scale in _hard_by_scale(rows, images).items()
        if len(by_scale) > 1
    }


def scale_table(rows: Sequence[Row], lists: Sequence[ImageList]) -> str | None:
    """AP on Hard at each scale, and which is the best; None without a detector at several."""
    by_list = {images.name: _hard_by_scale(rows, images.name) for images in lists}
    best = {images.name: best_scales(rows, images.name) for images in lists}
    titles = list(dict.fromkeys(row.title for row in rows if row.title in best[ALL_IMAGES]))
    if not titles:
        return None
    scales = sorted({scale for title in titles for scale in by_list[ALL_IMAGES][title]})
    body = []
    for title in titles:
        for images in lists:
            ap = by_list[images.name].get(title, {})
            cells = [percent(ap.get(scale, math.nan), 1) for scale in scales]
            body.append([title, images.name, *cells, _scale(best[images.name].get(title))])
    at_scales = [f"scale {scale:g}" for scale in scales]
    return table(["detector", "images", *at_scales, "best on Hard"], body)


def _hard_by_scale(rows: Sequence[Row], images: str) -> dict[str, dict[float, float]]:
    """Title -> scale -> AP on Hard, 0 to 1."""
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        if row.scale is not None and images in row.reports:
            ap = hard_ap(row, images)
            if not math.isnan(ap):
                found.setdefault(row.title, {})[row.scale] = ap
    return found


def reports_of(rows: Sequence[Row], images: str) -> list[FaceReport]:
    """The reports on a list of images, with the names that stand in the tables."""
    return [
        dataclasses.replace(row.reports[images], name=row.label)
        for row in rows
        if images in row.reports
    ]


def height_table(reports: Sequence[FaceReport]) -> str:
    """AP of the faces of each height, and how many there are."""
    groups = [[group for group in report.groups if group.kind == "height"] for report in reports]
    header = ["detector", *(f"{group.name} ({group.num_faces})" for group in groups[0])]
    body = [
        [report.name, *(percent(group.ap[OFFICIAL_IOU], 1) for group in own)]
        for report, own in zip(reports, groups, strict=True)
    ]
    return table(header, body)


def threshold_tables(reports: Sequence[FaceReport]) -> dict[str, str]:
    """Aim, such as "best F1" -> the score at which each detector reaches it, and what it costs."""
    return {
        aim: point_table([(report.name, report.recommended[aim]) for report in reports], "detector")
        for aim in reports[0].recommended
    }


def settings_table(rows: Sequence[Row]) -> str:
    """How each detector was set for AP."""
    return table(["detector", "settings"], [[row.label, row.settings] for row in rows])


def _ap_cell(row: Row, images: str, setting: str) -> str:
    if images not in row.reports:
        return ABSENT
    return percent(row.reports[images].results[setting][OFFICIAL_IOU].ap, 1)


def _scale(scale: float | None) -> str:
    return ABSENT if scale is None else f"{scale:g}"


def _seconds(seconds: Spread | None) -> str:
    if seconds is None:
        return ABSENT
    return f"{seconds.median:.3g} [{seconds.lower:.3g}, {seconds.upper:.3g}]"
