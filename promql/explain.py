"""The plan of a query as lines: what each part is, how many series it yielded, and the time it took."""

from collections.abc import Iterator
from dataclasses import dataclass

from common.durations import format_duration
from common.labels import METRIC_NAME
from common.matchers import Matcher, MatchType
from promql.nodes import (
    Aggregation,
    Binary,
    Call,
    MatrixSelector,
    Negation,
    Node,
    Number,
    Subquery,
    Text,
    VectorSelector,
    is_step_invariant,
)
from promql.numbers import format_general
from promql.plan import Plan
from promql.selection import Selection
from promql.stats import Trace


@dataclass(frozen=True, slots=True)
class PlanLine:
    """A node, `depth` below the root. Seconds include its operands'; None stands for what is not counted."""

    depth: int
    text: str
    series: int | None
    seconds: float | None
    notes: tuple[str, ...]


def plan_lines(plan: Plan, selection: Selection, trace: Trace) -> list[PlanLine]:
    """A line for each node, operands below what uses them."""
    return list(_Lines(plan, selection, trace).of(plan.root, 0))


class _Lines:
    def __init__(self, plan: Plan, selection: Selection, trace: Trace) -> None:
        self._plan = plan
        self._selection = selection
        self._trace = trace
        self._shown: set[Node] = set()

    def of(self, node: Node, depth: int) -> Iterator[PlanLine]:
        """The lines of a node and its operands; of one that is needed again, only that it is."""
        traced = self._trace.nodes.get(node)
        if self._plan.is_shared(node) and traced is not None and node in self._shown:
            yield PlanLine(depth, _text(node), traced.series, None, ("as above, evaluated once",))
            return
        self._shown.add(node)
        series = None if traced is None else traced.series
        if isinstance(node, MatrixSelector):
            series = len(self._selection.labels(node.selector.matchers))
        seconds = None if traced is None else traced.seconds
        yield PlanLine(depth, _text(node), series, seconds, tuple(self._notes(node)))
        for operand in _operands(node):
            yield from self.of(operand, depth + 1)

    def _notes(self, node: Node) -> Iterator[str]:
        traced = self._trace.nodes.get(node)
        if traced is not None and traced.slices > 1:
            yield f"in {traced.slices} slices"
        if self._plan.is_shared(node) and traced is not None:
            yield f"needed {self._plan.uses[node]} times"
        if traced is not None and is_step_invariant(node):
            yield "once for all steps"
        if self._selection.reads_rollups(node):
            yield "from roll-ups"
        if isinstance(node, VectorSelector | MatrixSelector):
            matchers = (node.selector if isinstance(node, MatrixSelector) else node).matchers
            for start_ms, end_ms, samples in self._selection.fetches(matchers):
                yield f"{samples} samples of {format_duration(max(0, end_ms - start_ms + 1))}"


def _operands(node: Node) -> tuple[Node, ...]:
    match node:
        case Call():
            return tuple(argument for argument in node.args if not isinstance(argument, Number | Text))
        case Aggregation():
            param = () if node.param is None or isinstance(node.param, Number | Text) else (node.param,)
            return (*param, node.expr)
        case Binary():
            return (node.lhs, node.rhs)
        case Negation() | Subquery():
            return (node.expr,)
        case _:
            return ()


def _text(node: Node) -> str:
    match node:
        case Number():
            return format_general(node.value)
        case Text():
            return "a string"
        case VectorSelector():
            return _selector(node.matchers) + _modifiers(node)
        case MatrixSelector():
            matched = _selector(node.selector.matchers)
            return f"{matched}[{format_duration(node.range_ms)}]{_modifiers(node.selector)}"
        case Subquery():
            step = "" if node.step_ms is None else format_duration(node.step_ms)
            return f"subquery [{format_duration(node.range_ms)}:{step}]{_modifiers(node)}"
        case Call():
            constants = ", ".join(_text(argument) for argument in node.args if isinstance(argument, Number))
            return f"{node.name}({constants})"
        case Aggregation():
            clause = f" {'without' if node.without else 'by'} ({', '.join(node.labels)})"
            param = f" ({_text(node.param)})" if isinstance(node.param, Number) else ""
            return node.op + (clause if node.labels or node.without else "") + param
        case Binary():
            return f"operator {node.op}"
        case Negation():
            return "operator -"


def _selector(matchers: tuple[Matcher, ...]) -> str:
    named = [matcher for matcher in matchers if matcher.name == METRIC_NAME and matcher.type is MatchType.EQUAL]
    name = named[0].value if named else ""
    others = ", ".join(str(matcher) for matcher in matchers if not named or matcher is not named[0])
    return f"{name}{{{others}}}" if others or not name else name


def _modifiers(node: VectorSelector | Subquery) -> str:
    at = "" if node.at is None else f" @ {node.at / 1000 if isinstance(node.at, int) else node.at.value + '()'}"
    sign = "-" if node.offset_ms < 0 else ""
    return at + (f" offset {sign}{format_duration(abs(node.offset_ms))}" if node.offset_ms else "")
