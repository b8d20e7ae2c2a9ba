"""AP against time; the function returns a matplotlib Figure, free of pyplot's state."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from image_lists import ImageList
from srn_d2.evaluation.widerface.face_report import ALL_FACES_SETTING

from .rows import Row, hard_ap

# Where a label may be beside its point, in typographic points, and how it is aligned there.
_LABEL_PLACES = [
    (x, y, alignment)
    for y in (4, -14, 15, -25)
    for x, alignment in ((4, "left"), (-4, "right"), (0, "center"))
]


def plot_ap_against_seconds(rows: Sequence[Row], lists: Sequence[ImageList]) -> Figure | None:
    """AP on Hard against the median seconds an image, a panel for each list of images.

    Whiskers are the quartiles of the seconds; a line joins the scales of one detector.

    Returns:
        None: no row has both seconds and AP on each list.
    """
    rows = [row for row in rows if row.report and row.seconds]
    rows = [row for row in rows if not any(math.isnan(hard_ap(row, x.name)) for x in lists)]
    if not rows:
        return None
    figure = Figure(figsize=(6.5 * len(lists), 6), layout="constrained")
    panels = figure.subplots(1, len(lists), squeeze=False)[0]
    labels = [_plot_points(axes, rows, images) for axes, images in zip(panels, lists, strict=True)]
    panels[0].set_ylabel(f"AP on {ALL_FACES_SETTING.title()} in %")
    figure.draw_without_rendering()  # from here on the places of points are known
    for axes, own in zip(panels, labels, strict=True):
        _spread_labels(axes, own)
    return figure


def _plot_points(axes: Axes, rows: Sequence[Row], images: ImageList) -> list[Annotation]:
    """Draw one panel; returns the labels of its points."""
    labels = []
    for index, title in enumerate(dict.fromkeys(row.title for row in rows)):
        own = [row for row in rows if row.title == title]
        seconds = [row.seconds.median for row in own]
        ap = [100 * hard_ap(row, images.name) for row in own]
        below = [row.seconds.median - row.seconds.lower for row in own]
        above = [row.seconds.upper - row.seconds.median for row in own]
        style = {"color": f"C{index % 10}", "linewidth": 0.8, "markersize": 4}
        axes.errorbar(seconds, ap, xerr=(below, above), fmt="o-", elinewidth=0.8, **style)
        for row, *point in zip(own, seconds, ap, strict=True):
            text = {"color": style["color"], "fontsize": "small", "textcoords": "offset points"}
            labels.append(axes.annotate(row.name, point, (0, 0), **text))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.2, y=0.1)
    axes.set(xlabel="seconds an image", title=f"{images.name} ({len(images.image_ids)} images)")
    axes.grid(alpha=0.3)
    return labels


def _spread_labels(axes: Axes, labels: Sequence[Annotation]) -> None:
    """Move the labels, one after the other, to where they cover the fewest others and points."""
    points = axes.transData.transform([label.xy for label in labels])
    taken = [Bbox([point - 3, point + 3]) for point in points]
    for label in labels:
        found = []
        for place in _LABEL_PLACES:
            _move(label, place)
            extent = label.get_window_extent()
            found.append((sum(map(extent.overlaps, taken)), extent))
        best = min(range(len(found)), key=lambda i: found[i][0])
        _move(label, _LABEL_PLACES[best])
        taken.append(found[best][1])


def _move(label: Annotation, place: tuple[float, float, str]) -> None:
    *offset, alignment = place
    label.set_position(offset)
    label.set_horizontalalignment(alignment)
