"""Long range queries are evaluated some steps at a time.

What an expression yields at a step does not depend on other steps. So where whole S x K matrices are needed, for
sorting or matching, they are those of a block of steps: memory stays small, and a query that has to stop does so soon.
"""

from collections.abc import Sequence

import numpy as np

from promql import limits
from promql.accumulate import can_accumulate
from promql.nodes import Aggregation, Node, Subquery
from promql.plan import Plan
from promql.selection import Selection, Times
from promql.slices import find_leaf
from promql.vector import Grid, StepVector

# Elements of a float64[S, K] array of all series of a selector.
_BLOCK_ELEMENTS = 3 << 20
# Of a block that are put in place between two looks whether the query has to stop.
_PLACED_AT_ONCE = 1 << 15


def step_blocks(plan: Plan, selection: Selection, times: Times) -> list[Grid]:
    """The steps of a query in runs; one, where blocks would cost more than they save."""
    grid = times.query
    size = max(1, _BLOCK_ELEMENTS // max(1, selection.most_series))
    if grid.count <= size or selection.has_rollups or not _needs_matrices(plan, times):
        return [grid]
    return [
        Grid(grid.start_ms + first * grid.step_ms, grid.step_ms, min(size, grid.count - first))
        for first in range(0, grid.count, size)
    ]


def _needs_matrices(plan: Plan, times: Times) -> bool:
    """Whether more than slices of series are needed; steps of subqueries would be evaluated again for each block."""
    if any(isinstance(node, Subquery) for node in plan.uses):
        return False
    root: Node = plan.root
    if isinstance(root, Aggregation) and can_accumulate(root.op):
        root = root.expr
    return find_leaf(root, times.query, times, plan) is None


def in_order(blocks: Sequence[StepVector]) -> StepVector:
    """The values of blocks of steps as one, its series sorted by labels."""
    if len(blocks) == 1:
        (block,) = blocks
        order = sorted(range(len(block.labels)), key=block.labels.__getitem__)
        in_place = order == list(range(len(order)))
        return block if in_place else block.rows(np.array(order, dtype=np.int64))
    labels = sorted({series for block in blocks for series in limits.checked(block.labels)})
    place = {series: row for row, series in enumerate(labels)}
    shape = (len(labels), sum(block.values.shape[1] for block in blocks))
    values, present = np.empty(shape), np.zeros(shape, np.bool_)
    first = 0
    for block in blocks:
        steps = slice(first, first + block.values.shape[1])
        rows = [place[series] for series in limits.checked(block.labels)]
        size = max(1, _PLACED_AT_ONCE // max(1, block.values.shape[1]))
        for some in range(0, len(rows), size):
            limits.check()
            places = rows[some : some + size]
            values[places, steps] = block.values[some : some + size]
            present[places, steps] = block.present[some : some + size]
        first = steps.stop
    return StepVector.of(labels, values, present)
