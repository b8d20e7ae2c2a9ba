"""Selection of the pyramid levels of each of the two steps. Pure Python."""

from collections.abc import Sequence
from dataclasses import dataclass

LEVELS = ("p2", "p3", "p4", "p5", "p6", "p7")
"""The levels of the second step, finest first; each has strides 4, 8, ..., 128."""


def ordered_levels(names: Sequence[str], key: str) -> tuple[str, ...]:
    """The levels in the order of :data:`LEVELS`, each once, so that equal sets compare equal.

    Args:
        names: names of levels.
        key: config key, for the error message.

    Raises:
        ValueError: for a name that is no level; the message lists the valid ones.
    """
    unknown = [name for name in names if name not in LEVELS]
    if unknown:
        raise ValueError(f"{key} names {unknown}, which are no levels; valid are {list(LEVELS)}")
    return tuple(name for name in LEVELS if name in names)


@dataclass(frozen=True)
class LevelSelection:
    """The levels with two-step classification (STC) and two-step regression (STR).

    The first step reads level cN where the second reads pN. A level may take both steps, one of
    them or none; with none anywhere the detector is a one-step RetinaNet.

    Attributes:
        stc_levels: names of the levels that classify twice, a subset of :data:`LEVELS`.
        str_levels: names of the levels that regress twice, a subset of :data:`LEVELS`.

    Raises:
        ValueError: for a name that is no level; the message lists the valid ones.

    Source: paper sections 3.2 (STC) and 3.3 (STR).
    """

    stc_levels: Sequence[str] = ("p2", "p3", "p4")
    str_levels: Sequence[str] = ("p5", "p6", "p7")

    def __post_init__(self) -> None:
        for key in ("stc_levels", "str_levels"):
            levels = ordered_levels(getattr(self, key), f"MODEL.SRN.{key.upper()}")
            object.__setattr__(self, key, levels)

    @property
    def first_step_levels(self) -> tuple[str, ...]:
        """The levels with a first step of either kind."""
        chosen = {*self.stc_levels, *self.str_levels}
        return tuple(name for name in LEVELS if name in chosen)

    @property
    def first_step_features(self) -> tuple[str, ...]:
        """The backbone features, c2 .. c7, that the first step reads."""
        return tuple(name.replace("p", "c") for name in self.first_step_levels)

    @property
    def features(self) -> tuple[str, ...]:
        """The backbone features that the head reads: the first step's, then all of the second's."""
        return self.first_step_features + LEVELS

    def has_stc(self, level: str) -> bool:
        """Return True if ``level`` classifies twice."""
        return level in self.stc_levels

    def has_str(self, level: str) -> bool:
        """Return True if ``level`` regresses twice."""
        return level in self.str_levels
