"""Gradients of each loss term by pyramid level, at the head and in the backbone.

The gradient of a term with respect to the head's predictions of one level is carried back through
the network alone: the parts of all levels add up to the term's gradient.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from srn_d2.modeling.level_selection import LEVELS
from srn_d2.modeling.srn import SRN
from srn_d2.modeling.srn_head import SRNPredictions

TERMS = {
    "loss_cls_s1": "first-step class",
    "loss_cls_s2": "second-step class",
    "loss_box_s1": "first-step box",
    "loss_box_s2": "second-step box",
}
"""Loss -> its name in tables."""
ALL_LEVELS = "all"
# Group of parameters -> beginnings of their names.
PARAMETER_GROUPS = {
    "class subnet": ("head.cls_",),
    "box subnet": ("head.bbox_",),
    "first step's own class layers": ("head.cls_subnet_s1", "head.cls_score_s1"),
    "first step's own box layers": ("head.bbox_subnet_s1", "head.bbox_pred_s1"),
    "pyramid": ("backbone.",),
    "bottom-up": ("backbone.bottom_up.",),
}


@dataclass
class GradientNorms:
    """Norms of the gradients of a training batch.

    Attributes:
        norms: (loss, level, group of parameters) -> Euclidean norm; the level "all" is of the whole
            term. What a term does not reach is left out.
        cosines: (group of parameters, loss, loss) -> cosine between the gradients of two terms.
    """

    norms: dict[tuple[str, str, str], float] = field(default_factory=dict)
    cosines: dict[tuple[str, str, str], float] = field(default_factory=dict)


def parameter_groups(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Group -> its parameters that are trained; a parameter is in the group of longest beginning.

    Others, of no group of :data:`PARAMETER_GROUPS`, are "other".
    """
    groups: dict[str, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            matches = [
                (len(begin), group)
                for group, begins in PARAMETER_GROUPS.items()
                for begin in begins
                if name.startswith(begin)
            ]
            groups.setdefault(max(matches, default=(0, "other"))[1], []).append(parameter)
    return groups


def gradient_norms(
    model: SRN, losses: Mapping[str, Tensor], predictions: SRNPredictions
) -> GradientNorms:
    """Norms of all terms by level and by group of parameters.

    Args:
        model: in training mode.
        losses: of a batch, with their graph.
        predictions: of the head for this batch, from which the losses were computed.
    """
    groups = parameter_groups(model)
    parameters = [parameter for group in groups.values() for parameter in group]
    result = GradientNorms()
    totals: dict[str, dict[str, Tensor]] = {}
    for term, loss in losses.items():
        total: list[Tensor] | None = None
        for level, maps in _maps_by_level(predictions).items():
            gradients = _through_level(loss, maps, parameters)
            if gradients is None:
                continue
            for group, vector in _split(gradients, groups).items():
                result.norms[term, level, group] = float(vector.norm())
            total = (
                gradients
                if total is None
                else [a + b for a, b in zip(total, gradients, strict=True)]
            )
        if total is not None:
            totals[term] = _split(total, groups)
            for group, vector in totals[term].items():
                result.norms[term, ALL_LEVELS, group] = float(vector.norm())
    for group in groups:
        for first, second in itertools.combinations(totals, 2):
            a, b = totals[first][group], totals[second][group]
            if a.any() and b.any():
                cosine = torch.nn.functional.cosine_similarity(a, b, dim=0)
                result.cosines[group, first, second] = float(cosine)
    return result


def _maps_by_level(predictions: SRNPredictions) -> dict[str, list[Tensor]]:
    """Level -> the maps of it that the head predicted, of both steps."""
    return {
        level: [maps[index] for maps in predictions if maps[index] is not None]
        for index, level in enumerate(LEVELS)
    }


def _through_level(
    loss: Tensor, maps: Sequence[Tensor], parameters: Sequence[nn.Parameter]
) -> list[Tensor] | None:
    """Gradient of a loss through the maps of one level; None where the loss does not need them."""
    at_maps = torch.autograd.grad(loss, maps, retain_graph=True, allow_unused=True)
    used = [(x, g) for x, g in zip(maps, at_maps, strict=True) if g is not None]
    if not any(bool(g.any()) for _, g in used):
        return None
    gradients = torch.autograd.grad(
        [x for x, _ in used],
        parameters,
        grad_outputs=[g for _, g in used],
        retain_graph=True,
        allow_unused=True,
    )
    return [
        torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)
    ]


def _split(
    gradients: Sequence[Tensor], groups: Mapping[str, Sequence[nn.Parameter]]
) -> dict[str, Tensor]:
    """Group -> its part of the gradients as one vector."""
    vectors, begin = {}, 0
    for group, parameters in groups.items():
        end = begin + len(parameters)
        vectors[group] = torch.cat([g.flatten().float() for g in gradients[begin:end]])
        begin = end
    return vectors
