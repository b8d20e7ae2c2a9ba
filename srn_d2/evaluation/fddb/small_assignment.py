"""The assignment problem of few rows and columns, by shortest augmenting paths.

As scipy.optimize.linear_sum_assignment, pair by pair, ties included
(tests/evaluation/fddb/test_small_assignment.py). To import scipy.optimize takes longer than all
of FDDB's evaluation, in which some hundred problems of mostly less than ten rows have to be solved.

The method: D. F. Crouse, On implementing 2D rectangular assignment algorithms, IEEE Transactions
on Aerospace and Electronic Systems 52(4), 2016.
"""

import math
from collections.abc import Sequence


def least_cost_assignment(cost: Sequence[Sequence[float]]) -> list[int]:
    """The column of each row, all different, with the least sum of costs.

    Args:
        cost: (m, n), m <= n, finite.
    """
    num_columns = len(cost[0]) if cost else 0
    row_duals, column_duals = [0.0] * len(cost), [0.0] * num_columns
    column_of, row_of = [-1] * len(cost), [-1] * num_columns
    for row in range(len(cost)):
        lengths = [math.inf] * num_columns  # of the shortest path to each column
        previous = [-1] * num_columns  # row before the column on that path
        remaining = list(range(num_columns - 1, -1, -1))
        rows, columns = [], []  # on shortest paths that are final
        length, last, end = 0.0, row, -1
        while end < 0:
            rows.append(last)
            costs, dual = cost[last], row_duals[last]
            shortest, place = math.inf, -1
            for k, column in enumerate(remaining):
                candidate = length + costs[column] - dual - column_duals[column]
                if candidate < lengths[column]:
                    lengths[column], previous[column] = candidate, last
                # Of equally short paths one to a free column, which ends the search.
                is_free = row_of[column] < 0
                if lengths[column] < shortest or (lengths[column] == shortest and is_free):
                    shortest, place = lengths[column], k
            length = shortest
            column = remaining[place]
            remaining[place] = remaining[-1]
            remaining.pop()
            columns.append(column)
            last = row_of[column]
            end = column if last < 0 else -1
        row_duals[row] += length
        for other in rows[1:]:
            row_duals[other] += length - lengths[column_of[other]]
        for column in columns:
            column_duals[column] -= length - lengths[column]
        while last != row:
            last = row_of[end] = previous[end]
            column_of[last], end = end, column_of[last]
    return column_of
