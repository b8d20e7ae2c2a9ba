"""The measures of a checkpoint's mechanism as tables and as JSON."""

from typing import Any

import numpy as np

from srn_d2.modeling.level_selection import LEVELS

from .gradients import ALL_LEVELS, PARAMETER_GROUPS, TERMS
from .mechanism import Mechanism
from .step_targets import FIRST_BOXES, REFINED, REGULAR, SECOND_BOXES, TargetSums
from .tables import ABSENT, table


def mechanism_markdown(title: str, found: Mechanism) -> str:
    """All tables of the measures."""
    number = found.targets.num_images
    parts = [
        f"# {title}",
        f"Means over {len(found.gradients)} training batches ({number} crops).",
        "## Losses",
        table(
            ["term", "loss"],
            [[TERMS.get(n, n), f"{np.mean(v):.3f}"] for n, v in found.losses.items()],
        ),
        "## Norms of the gradients, by term and level",
        "The gradient of a term through the predictions of one level; their sum is the term's "
        '("all"). Levels that a term does not reach have a dash.',
    ]
    for group in _groups(found):
        parts += [f"### {group}", _norm_table(found, group)]
    parts += [
        "## Cosines between the terms' gradients",
        _cosine_table(found),
        "## Positives of an image, by step and level",
        _positives_table(found.targets),
        "## Mean IoU with the face that is matched",
        "First-step boxes are the anchors that the second step starts from on STR levels.",
        _overlap_table(found.targets),
    ]
    return "\n\n".join(parts) + "\n"


def mechanism_json(found: Mechanism) -> dict[str, Any]:
    """The same numbers as plain values."""
    sums = found.targets
    return {
        "batches": len(found.gradients),
        "images": sums.num_images,
        "losses": {name: float(np.mean(values)) for name, values in found.losses.items()},
        "gradient_norms": {
            group: {
                term: {
                    level: _mean_norm(found, term, level, group) for level in (*LEVELS, ALL_LEVELS)
                }
                for term in found.losses
            }
            for group in _groups(found)
        },
        "cosines": {" | ".join(key): value for key, value in _mean_cosines(found).items()},
        "positives": {
            " | ".join(key): value / sums.num_images for key, value in sums.positives.items()
        },
        "mean_iou": {
            " | ".join(key): (total / number if number else None)
            for key, (total, number) in sums.overlaps.items()
        },
    }


def _groups(found: Mechanism) -> list[str]:
    groups = {group for gradients in found.gradients for _, _, group in gradients.norms}
    return sorted(groups, key=[*PARAMETER_GROUPS, "other"].index)


def _mean_norm(found: Mechanism, term: str, level: str, group: str) -> float | None:
    """Mean over the batches, with 0 where a batch has none; None where none has."""
    key = (term, level, group)
    if not any(key in gradients.norms for gradients in found.gradients):
        return None
    return float(np.mean([gradients.norms.get(key, 0.0) for gradients in found.gradients]))


def _mean_cosines(found: Mechanism) -> dict[tuple[str, str, str], float]:
    keys = dict.fromkeys(key for gradients in found.gradients for key in gradients.cosines)
    return {
        key: float(np.mean([g.cosines[key] for g in found.gradients if key in g.cosines]))
        for key in keys
    }


def _norm_table(found: Mechanism, group: str) -> str:
    levels = (*LEVELS, ALL_LEVELS)
    body = []
    for term in found.losses:
        norms = [_mean_norm(found, term, level, group) for level in levels]
        if any(norms):
            body.append([TERMS.get(term, term), *map(_number, norms)])
    return table(["term", *(level.upper() for level in LEVELS), "all"], body)


def _cosine_table(found: Mechanism) -> str:
    cosines = _mean_cosines(found)
    pairs = list(dict.fromkeys(key[1:] for key in cosines))
    groups = [group for group in _groups(found) if any(key[0] == group for key in cosines)]
    body = [
        [
            " / ".join(TERMS.get(term, term) for term in pair),
            *(_number(cosines.get((group, *pair)), signed=True) for group in groups),
        ]
        for pair in pairs
    ]
    return table(["terms", *groups], body)


def _positives_table(sums: TargetSums) -> str:
    body = []
    for kind in dict.fromkeys(kind for kind, _ in sums.positives):
        by_level = [sums.positives.get((kind, level)) for level in LEVELS]
        cells = [ABSENT if x is None else f"{x / sums.num_images:.2f}" for x in by_level]
        total = sum(x for x in by_level if x is not None) / sums.num_images
        body.append([kind, *cells, f"{total:.2f}"])
    body.sort(key=lambda row: row[0])
    return table(["positives", *(level.upper() for level in LEVELS), "all"], body)


def _overlap_table(sums: TargetSums) -> str:
    body = []
    for kind in (REGULAR, FIRST_BOXES, REFINED, SECOND_BOXES):
        entries = [sums.overlaps.get((kind, level), (0.0, 0)) for level in LEVELS]
        if any(number for _, number in entries):
            body.append([kind, *(_number(t / n) if n else ABSENT for t, n in entries)])
    return table(["IoU", *(level.upper() for level in LEVELS)], body)


def _number(value: float | None, signed: bool = False) -> str:
    if value is None:
        return ABSENT
    return f"{value:+.2f}" if signed else f"{value:.3g}"
