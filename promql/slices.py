"""Expressions of which every series depends on one series of one selector are evaluated a few series at a time.

`rate(x[5m]) * 8 > 100` is one, and so is what an aggregation adds up: no S x K matrix is made for the nodes between,
what is worked on stays in the CPU's cache, and a query that has to stop does so between slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.labels import Labels
from promql.functions.elementwise import DATES, MATHEMATICS
from promql.nodes import (
    Binary,
    Call,
    MatrixSelector,
    Negation,
    Node,
    Subquery,
    ValueType,
    VectorSelector,
    is_step_invariant,
    value_type,
)
from promql.plan import Plan
from promql.selection import Times
from promql.vector import Grid, StepVector

Selector = VectorSelector | MatrixSelector

_ELEMENTWISE = {*MATHEMATICS, *DATES, "clamp", "clamp_max", "clamp_min", "round", "timestamp"}
_OF_ALL_SERIES = {"absent_over_time", "info"}


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """The selector that all series of an expression come from, and the steps it is evaluated at."""

    selector: Selector
    grid: Grid


def find_leaf(node: Node, grid: Grid, times: Times, plan: Plan) -> Leaf | None:
    """The leaf of an instant vector whose series depend on one of its series each; None where there is no such.

    Operands that the plan needs several times are evaluated as a whole.
    """
    if grid.count > 1 and is_step_invariant(node):
        grid = grid.first_step()
    match node:
        case VectorSelector():
            return Leaf(node, grid)
        case Negation():
            return _leaf_of_operand(node.expr, grid, times, plan)
        case Binary() if value_type(node.lhs) is ValueType.SCALAR:
            return _leaf_of_operand(node.rhs, grid, times, plan)
        case Binary() if value_type(node.rhs) is ValueType.SCALAR:
            return _leaf_of_operand(node.lhs, grid, times, plan)
        case Call() if node.name in _ELEMENTWISE and node.args:
            return _leaf_of_operand(node.args[0], grid, times, plan)
        case Call() if node.name not in _OF_ALL_SERIES:
            return _leaf_of_windows(node, grid, times, plan)
        case _:
            return None


def _leaf_of_operand(node: Node, grid: Grid, times: Times, plan: Plan) -> Leaf | None:
    if value_type(node) is ValueType.SCALAR or (plan.is_shared(node) and not isinstance(node, VectorSelector)):
        return None
    return find_leaf(node, grid, times, plan)


def _leaf_of_windows(call: Call, grid: Grid, times: Times, plan: Plan) -> Leaf | None:
    """Of a function of one range vector."""
    for argument in call.args:
        match argument:
            case MatrixSelector():
                return Leaf(argument, grid)
            case Subquery():
                inner = times.subquery_grid(argument, grid)
                return _leaf_of_operand(argument.expr, inner, times, plan) if inner.count else None
    return None


def gathered(slices: Iterator[StepVector], rows: int, steps: int) -> StepVector:
    """The whole of slices, which have at most so many rows together."""
    values, present = np.empty((rows, steps)), np.empty((rows, steps), np.bool_)
    drop_name = np.empty(rows, np.bool_)
    labels: list[Labels] = []
    for part in slices:
        place = slice(len(labels), len(labels) + len(part.labels))
        values[place], present[place], drop_name[place] = part.values, part.present, part.drop_name
        labels += part.labels
    used = len(labels)
    return StepVector(labels, values[:used], present[:used], drop_name[:used])
