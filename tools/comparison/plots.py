"""AP against time; the function returns a matplotlib Figure, free of pyplot's state."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from image_lists import ImageList
from srn_d2.evaluation.widerface.face_report import ALL_FACES_SETTING, OFFICIAL_IOU

from .rows import Row


def plot_ap_against_seconds(rows: Sequence[Row], lists: Sequence[ImageList]) -> Figure | None:
    """AP on Hard against the median seconds an image, a panel for each list of images.

    Whiskers are the quartiles of the seconds; a line joins the scales of one detector.

    Returns:
        None: no row has both AP and seconds.
    """
    rows = [row for row in rows if row.report and row.seconds]
    if not rows:
        return None
    figure = Figure(figsize=(6.5 * len(lists), 5), layout="constrained")
    panels = figure.subplots(1, len(lists), squeeze=False)[0]
    titles = list(dict.fromkeys(row.title for row in rows))
    for axes, images in zip(panels, lists, strict=True):
        for index, title in enumerate(titles):
            own = [row for row in rows if row.title == title]
            seconds = [row.seconds.median for row in own]
            ap = [100 * _hard(row, images) for row in own]
            whiskers = [
                [row.seconds.median - row.seconds.lower for row in own],
                [row.seconds.upper - row.seconds.median for row in own],
            ]
            color = f"C{index % 10}"
            axes.errorbar(
                seconds, ap, xerr=whiskers, fmt="o-", color=color, linewidth=0.8, elinewidth=0.8
            )
            for row, *point in zip(own, seconds, ap, strict=True):
                axes.annotate(
                    row.name,
                    point,
                    xytext=(4, 5),
                    textcoords="offset points",
                    color=color,
                    fontsize="small",
                )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.2, y=0.1)
        axes.set(xlabel="seconds an image", title=f"{images.name} ({len(images.image_ids)} images)")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"AP on {ALL_FACES_SETTING.title()} in %")
    return figure


def _hard(row: Row, images: ImageList) -> float:
    return row.reports[images.name].results[ALL_FACES_SETTING][OFFICIAL_IOU].ap
