"""What is done to an expression before it is evaluated: constants are folded, equal parts become one.

A part that occurs several times is evaluated once. Of its occurrences the last one stands for all: annotations name
the last place of what they complain of.
"""

import dataclasses
from collections import Counter
from typing import Any, get_args

import numpy as np

from promql.binary import between_scalars
from promql.nodes import Binary, Call, Negation, Node, Number

_NODE_TYPES = get_args(Node)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """An expression ready for evaluation. `uses` says how often each of its nodes is an operand of another."""

    root: Node
    uses: Counter[Node]

    def is_shared(self, node: Node) -> bool:
        """Whether the node's value is needed more than once."""
        return self.uses[node] > 1


def make_plan(node: Node) -> Plan:
    """Plan the evaluation of an expression."""
    planner = _Planner()
    return Plan(planner.planned(node), planner.uses)


class _Planner:
    def __init__(self) -> None:
        self.uses: Counter[Node] = Counter()
        self._known: dict[tuple[object, ...], Node] = {}

    def planned(self, node: Node) -> Node:
        """The node that stands for this one and its equals."""
        if isinstance(node, Number):
            # As costly to remember as to evaluate, and annotations tell which one of them is wrong.
            return node
        values = {}
        children: list[Node] = []
        # From behind, so that the last one of equals is met first.
        for field in reversed(dataclasses.fields(node)):
            values[field.name] = self._planned_field(getattr(node, field.name), children)
        key = (type(node), *[_key(value) for name, value in values.items() if name != "position"])
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _folded(dataclasses.replace(node, **values))
            self.uses.update(children)
        return known

    def _planned_field(self, value: Any, children: list[Node]) -> Any:
        if isinstance(value, _NODE_TYPES):
            children.append(self.planned(value))
            return children[-1]
        if isinstance(value, tuple) and any(isinstance(item, _NODE_TYPES) for item in value):
            return tuple(reversed([self._planned_field(item, children) for item in reversed(value)]))
        return value


def _key(value: object) -> object:
    """What tells a planned field's value from others: nodes by identity, numbers by all of their bits."""
    if isinstance(value, Number):
        return value.value.hex()
    if isinstance(value, _NODE_TYPES):
        return id(value)
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    return value.hex() if isinstance(value, float) else value


def _folded(node: Node) -> Node:
    match node:
        case Binary(lhs=Number() as lhs, rhs=Number() as rhs):
            with np.errstate(all="ignore"):
                value = between_scalars(node.op, np.array([lhs.value]), np.array([rhs.value]))
            return Number(float(value[0]), node.position)
        case Negation(expr=Number() as operand):
            return Number(-operand.value, node.position)
        case Call(name="pi"):
            return Number(float(np.pi), node.position)
        case _:
            return node
