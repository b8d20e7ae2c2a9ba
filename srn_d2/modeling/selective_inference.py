"""Sparse second step of inference, computed only around anchors that survive the first step.

STC removes most anchors of the fine levels before the second step. A prediction depends only on
the cells in its receptive field, so each layer is computed only at the cells that a later layer
reads.

Shapes: N images · A anchors of a cell · C channels
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .backbone import SRNFPN
from .cell_lists import CellSet, dilate, kernels_of, sparse_conv, sparse_subnet, subnet_tables
from .level_selection import LEVELS
from .rfe import RFE
from .srn_head import SRNHead

MODES = ("auto", "dense", "sparse")

WIDE = 128
"""Number of channels from which a subnet counts as wide."""

BREAK_EVEN = {
    # narrow, wide
    torch.float32: (0.5, 0.65),
    torch.bfloat16: (0.35, 0.7),
}
"""Share of a level's dense multiply-adds up to which "auto" computes it sparsely.

A multiply-add of gathered cells costs more than one of a map, the more so with few channels. On an
AMD EPYC with AVX512_BF16 dense and sparse take the same time at shares of 0.54 (64 channels) and
0.72 (256) in float32, 0.37 and 0.77 in bfloat16. Other types use the values of bfloat16.
Measured by

    python tools/benchmark.py inference --variants dense sparse dense-bf16 sparse-bf16 \\
        --active-share 0.1 0.2 0.3 0.4 --config-file configs/srn_R50.yaml

(configs/srn_efflite0.yaml has 64 channels); its report has the table. CUDA uses the same numbers,
unmeasured; in float32 they may be too high there: convolutions may use TF32, but the matrix
products of the sparse computation, by torch's default, do not.
"""


SEPARABLE_BREAK_EVEN = {torch.float32: 0.2, torch.bfloat16: 0.02}
"""The same of subnets of separable convolutions, whose dense layers cost a map's memory traffic
rather than multiply-adds. On the AMD EPYC, one thread, 64 channels, sparse takes 0.07, 0.18 and
0.73 of the dense time in float32 at shares of 0.02, 0.07 and 0.21; 0.6 and 1.4 in bfloat16 at 0.02
and 0.07."""


def break_even(channels: int, dtype: torch.dtype, is_separable: bool = False) -> float:
    """Entry of the tables above for a subnet's number of channels, data type and convolutions."""
    if is_separable:
        return SEPARABLE_BREAK_EVEN.get(dtype, SEPARABLE_BREAK_EVEN[torch.bfloat16])
    narrow, wide = BREAK_EVEN.get(dtype, BREAK_EVEN[torch.bfloat16])
    return wide if channels >= WIDE else narrow


class LevelPlan(NamedTuple):
    """Plan of one level's second step.

    Attributes:
        sparse: True: computed at selected cells; False: everywhere.
        unfinished: whether the backbone has left the level's output convolution to this step.
        cells: for each layer of a subnet the mask (N, H, W), bool, of its input cells, and last
            that of the survivors, whose predictions are wanted. Empty on a level without STC or
            in mode "dense".
        active_share: survivors as a share of the level's cells.
        work_share: multiply-adds of the sparse computation as a share of the dense one's.
    """

    sparse: bool = False
    unfinished: bool = False
    cells: Sequence[Tensor] = ()
    active_share: float = 1.0
    work_share: float = 1.0


@dataclass(frozen=True)
class SecondStep:
    """The second step's predictions in inference, by the backbone's and the head's layers.

    Attributes:
        mode: "dense"; "sparse": on STC levels only the cells that survivors depend on; "auto":
            the faster of the two on each level.

    Raises:
        ValueError: for an unknown mode.
    """

    mode: str

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"MODEL.SRN.SECOND_STEP is {self.mode!r}; valid are {list(MODES)}")

    def unfinished_levels(self, backbone: SRNFPN, head: SRNHead) -> tuple[str, ...]:
        """The levels whose output convolution is left to this step."""
        can_defer = self.mode != "dense" and not head.is_separable
        stc_levels = head.level_selection.stc_levels if can_defer else ()
        return tuple(x for x in backbone.deferrable_levels if x in stc_levels)

    def plan(
        self, head: SRNHead, survivors: Sequence[Tensor | None], unfinished: Sequence[str]
    ) -> dict[str, LevelPlan]:
        """Choose dense or sparse computation for each level.

        Args:
            survivors: per level (N, Hl, Wl), bool, True for cells with an anchor that survives the
                first step; None on a level without STC.
            unfinished: from :meth:`unfinished_levels`.
        """
        return {
            level: LevelPlan()
            if mask is None or self.mode == "dense"
            else self._plan_level(head.cls_subnet, mask, level in unfinished)
            for level, mask in zip(LEVELS, survivors, strict=True)
        }

    def _plan_level(self, subnet: nn.Sequential, survivors: Tensor, unfinished: bool) -> LevelPlan:
        cells = [survivors]
        for layer in reversed(subnet):
            cells.insert(0, dilate(cells[0], kernels_of(layer)))
        counts = torch.stack([mask.sum() for mask in cells]).tolist()
        everywhere = [survivors.numel()] * len(counts)
        work = _multiply_adds(subnet, counts, unfinished)
        work_share = work / _multiply_adds(subnet, everywhere, unfinished)
        return LevelPlan(
            sparse=self.mode == "sparse" or work_share < _break_even_of(subnet),
            unfinished=unfinished,
            cells=cells,
            active_share=counts[-1] / survivors.numel(),
            work_share=work_share,
        )

    def __call__(
        self,
        backbone: SRNFPN,
        head: SRNHead,
        maps: dict[str, Tensor],
        plan: dict[str, LevelPlan],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """
        Args:
            maps: at least p2 .. p7; ``unfinished`` levels without their output convolution.
            plan: from :meth:`plan`.

        Returns:
            scores and deltas in the layout of ``SRNPredictions``. On a sparse level they are 0 at
            cells without a survivor.
        """
        sparse = [level for level in LEVELS if plan[level].sparse]
        scores, deltas = {}, {}
        for level in LEVELS:
            if level not in sparse:
                x = maps[level]
                x = backbone.outputs[level](x) if plan[level].unfinished else x
                scores[level], deltas[level] = head.scores(x), head.deltas(x)
        if sparse:
            inputs = [
                _finished_cells(backbone.outputs[level], maps[level], plan[level].cells[0])
                if plan[level].unfinished
                else CellSet([plan[level].cells[0]]).gather([maps[level]])
                for level in sparse
            ]
            level_scores, level_deltas = _predict_at(head, inputs, [plan[x] for x in sparse])
            scores.update(zip(sparse, level_scores, strict=True))
            deltas.update(zip(sparse, level_deltas, strict=True))
        return [scores[level] for level in LEVELS], [deltas[level] for level in LEVELS]


def _finished_cells(output: nn.Module, merged: Tensor, mask: Tensor) -> Tensor:
    """Apply the pyramid's ``output`` convolution to a map (N, C, H, W) where ``mask`` is True."""
    inputs = CellSet([dilate(mask, kernels_of(output))])
    neighbours = inputs.neighbours(CellSet([mask]), output.kernel_size)
    x = sparse_conv(output, inputs.gather([merged]), neighbours)
    return x if output.norm is None else output.norm(x[..., None, None]).flatten(1)


def _predict_at(
    head: SRNHead, inputs: Sequence[Tensor], plans: Sequence[LevelPlan]
) -> tuple[list[Tensor], list[Tensor]]:
    """Scores and deltas of some levels, as maps, from the subnets' input cells."""
    # The subnets are shared by all levels: one list holds the cells of all.
    x = torch.cat([inputs[0], *(level_cells[1:] for level_cells in inputs[1:])])
    sets = [CellSet(masks) for masks in zip(*(plan.cells for plan in plans), strict=True)]
    tables = subnet_tables(head.cls_subnet, sets)
    scores = sparse_conv(head.cls_score, sparse_subnet(head.cls_subnet, x, tables))
    deltas = sparse_conv(head.bbox_pred, sparse_subnet(head.bbox_subnet, x, tables))
    return sets[-1].scatter(scores), sets[-1].scatter(deltas)


def _break_even_of(subnet: nn.Sequential) -> float:
    first = subnet[0]
    return break_even(first.in_channels, _compute_dtype(first.weight), first.groups > 1)


def _compute_dtype(weight: Tensor) -> torch.dtype:
    """Data type in which a convolution with this weight is computed, by autocast if enabled."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def _multiply_adds(subnet: nn.Sequential, counts: Sequence[int], unfinished: bool) -> int:
    """Multiply-adds of the pyramid's output convolution, if ``unfinished``, and of both subnets.

    Args:
        counts: number of input cells of each layer, then of predicted cells.
    """
    total = 0
    for layer, inputs, outputs in zip(subnet, counts[:-1], counts[1:], strict=True):
        weights = sum(p.numel() for p in layer.parameters() if p.dim() == 4)
        if isinstance(layer, RFE):
            entry = sum(branch[0].weight.numel() for branch in layer.branches)
            total += entry * inputs + (weights - entry) * outputs
        else:
            total += weights * outputs
    first = subnet[0].weight.numel()  # same as the output convolution's
    return 2 * total + (first * counts[0] if unfinished else 0)
