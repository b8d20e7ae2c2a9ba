"""Rows of an ablation: the config keys in which its trainings differ."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from srn_d2.modeling.level_selection import LEVELS

BASELINE = "retinanet"
MAIN_ROWS = ("retinanet", "stc", "str", "stc_str", "srn")
SINGLE_LEVEL_ROWS = {step: tuple(f"{step}_{level}" for level in LEVELS) for step in ("stc", "str")}
"""Step -> the rows that take it on one level only, in the order of the levels."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class Row:
    """A row of an ablation.

    Attributes:
        name: for folders and the command line.
        title: for tables.
        opts: config keys and values in turn, over the base config.
    """

    name: str
    title: str
    opts: tuple[str, ...]


def paper_rows() -> dict[str, Row]:
    """Name -> row of the paper's tables: the main ones, then those of a single level."""
    fine, coarse = LEVELS[:3], LEVELS[3:]
    rows = [
        _row("retinanet", "RetinaNet", (), (), rfe=False),
        _row("stc", "STC", fine, (), rfe=False),
        _row("str", "STR", (), coarse, rfe=False),
        _row("stc_str", "STC + STR", fine, coarse, rfe=False),
        _row("srn", "SRN (STC + STR + RFE)", fine, coarse, rfe=True),
    ]
    for level in LEVELS:
        rows.append(_row(f"stc_{level}", f"STC on {level.upper()}", (level,), (), rfe=False))
    for level in LEVELS:
        rows.append(_row(f"str_{level}", f"STR on {level.upper()}", (), (level,), rfe=False))
    return {row.name: row for row in rows}


def choose_rows(names: Sequence[str], definitions: Sequence[str] = ()) -> list[Row]:
    """The rows of these names, among the paper's and the defined ones.

    Args:
        names: each once.
        definitions: each "NAME=ROW KEY VALUE ...": a further row that has the keys of ROW, one of
            the paper's or defined before, and these over them.

    Raises:
        ValueError: a name is unknown or given twice, or a definition is malformed.
    """
    rows = paper_rows()
    for text in definitions:
        row = _defined(text, rows)
        rows[row.name] = row
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise ValueError(f"there is no row {unknown[0]!r}; there are: {', '.join(rows)}")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the row {twice!r} is given twice")
    return [rows[name] for name in names]


def _row(name: str, title: str, stc: Sequence[str], str_: Sequence[str], *, rfe: bool) -> Row:
    return Row(
        name,
        title,
        (
            *("MODEL.SRN.STC_LEVELS", str(list(stc))),
            *("MODEL.SRN.STR_LEVELS", str(list(str_))),
            *("MODEL.SRN.RFE", str(rfe)),
        ),
    )


def _defined(text: str, rows: Mapping[str, Row]) -> Row:
    name, separator, rest = text.partition("=")
    try:
        base, *opts = shlex.split(rest) or [""]
    except ValueError:  # a quotation without its end
        base, opts = "", []
    wanted = 'expected "NAME=ROW KEY VALUE ...", such as "stc_light=stc SOLVER.BASE_LR 0.0005"'
    if not separator or not _NAME.fullmatch(name) or len(opts) % 2 or not opts:
        raise ValueError(f"the definition {text!r} is malformed: {wanted}")
    if name in rows:
        raise ValueError(f"the definition {text!r}: there is a row {name!r} already")
    if base not in rows:
        raise ValueError(f"the definition {text!r}: there is no row {base!r}; {wanted}")
    changes = " ".join(opts)
    return Row(name, f"{rows[base].title}, {changes}", (*rows[base].opts, *opts))
