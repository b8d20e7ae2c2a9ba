"""Linear regression between feature maps."""

import torch
from torch import Tensor

RIDGE = 1e-4
"""Ridge penalty of a fit, as a share of the inputs' mean square."""


class LinearFit:
    """Ridge regression y = W x + b over the cells of maps, which are added batch by batch.

    Args:
        inputs, outputs: numbers of channels of x and y.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        # Sums over cells; x has a constant 1 as its last channel, for b.
        self._xx = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64)
        self._xy = torch.zeros(inputs + 1, outputs, dtype=torch.float64)
        self._yy = torch.zeros(outputs, dtype=torch.float64)

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add maps: x (N, inputs, H, W), y (N, outputs, H, W)."""
        rows, targets = (t.permute(0, 2, 3, 1).flatten(0, 2).double() for t in (x, y))
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
        self._xx += rows.T @ rows
        self._xy += rows.T @ targets
        self._yy += targets.square().sum(0)

    def solve(self) -> tuple[Tensor, Tensor, float]:
        """Solve for the maps added so far.

        Returns:
            W (outputs, inputs), b (outputs,), and the share of y's variance that they explain.

        Raises:
            ValueError: there are fewer cells than unknowns of an output, so that any y would fit.
        """
        unknowns = len(self._xx)
        cells = int(self._xx[-1, -1])
        if cells < unknowns:
            raise ValueError(
                f"{cells} cells are too few to fit {unknowns} unknowns: more crops are needed"
            )
        penalty = torch.full((unknowns,), RIDGE * float(self._xx.diagonal()[:-1].mean()))
        penalty[-1] = 0
        solution = torch.linalg.solve(self._xx + penalty.double().diag(), self._xy)
        error = self._yy - (solution * (2 * self._xy - self._xx @ solution)).sum(0)
        variance = self._yy - self._xy[-1].square() / cells
        share = float(1 - error.sum() / variance.sum())
        return solution[:-1].T.float(), solution[-1].float(), share
