"""Which samples a query needs: each selector is fetched once, over the time its windows cover.

The same selector at several places of a query is one fetch where its times meet; far apart (`x - x offset 1w`) they
are two, so that the week between is not read. Where roll-ups serve, they are fetched instead, for each place by itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from common.labels import Labels
from common.matchers import Matcher
from promql import limits
from promql.nodes import (
    Aggregation,
    Anchoring,
    AtBound,
    Binary,
    Call,
    MatrixSelector,
    Negation,
    Node,
    Subquery,
    VectorSelector,
    is_step_invariant,
)
from promql.rollups import select_rollups
from promql.vector import Grid
from promql.windows import WIDE_ROWS
from tsdb.model import FloatArray, Frame
from tsdb.rollups import RollupFrame
from tsdb.store import Queryable


@dataclass(frozen=True, slots=True)
class Times:
    """What the times of an evaluation depend on, beside its grid."""

    query: Grid
    query_end_ms: int
    lookback_ms: int
    default_step_ms: int

    def evaluated(self, grid: Grid, at: int | AtBound | None, offset_ms: int) -> Grid:
        """The times a selector or subquery looks at: the grid's, or one that `@` pins, less the offset."""
        if at is None:
            return Grid(grid.start_ms - offset_ms, grid.step_ms, grid.count)
        pinned = {AtBound.START: self.query.start_ms, AtBound.END: self.query_end_ms}
        time_ms = at if isinstance(at, int) else pinned[at]
        return Grid(time_ms - offset_ms, 0, grid.count)

    def reach(self, selector: VectorSelector, range_ms: int | None) -> tuple[int, int]:
        """The offset and length in milliseconds of the windows that a selector reads; no range is an instant vector.

        Anchored ones look at what was before theirs, too, smoothed ones at both sides.
        """
        match selector.anchoring:
            case Anchoring.SMOOTHED:
                before_ms = 0 if range_ms is None else range_ms
                return selector.offset_ms - self.lookback_ms, before_ms + 2 * self.lookback_ms
            case Anchoring.ANCHORED if range_ms is not None:
                return selector.offset_ms, range_ms + self.lookback_ms
            case _:
                return selector.offset_ms, self.lookback_ms if range_ms is None else range_ms

    def subquery_grid(self, node: Subquery, grid: Grid) -> Grid:
        """The steps of a subquery: multiples of its step since the epoch, in the windows of all outer steps."""
        step_ms = node.step_ms or self.default_step_ms
        outer = self.evaluated(grid, node.at, node.offset_ms)
        start_ms = ((outer.start_ms - node.range_ms) // step_ms + 1) * step_ms
        return Grid(start_ms, step_ms, max(0, (outer.end_ms - start_ms) // step_ms + 1))


@dataclass(slots=True)
class _Fetch:
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class _Need:
    """What a node, a selector or the call of a function, reads of a selector: windows of a length at some times.

    `steps` is what it is evaluated at, `grid` the ends of the windows.
    """

    reader: Node
    selector: VectorSelector
    range_ms: int
    steps: Grid
    grid: Grid


class Selection:
    """The frames of every selector of an expression."""

    def __init__(self, store: Queryable, node: Node, times: Times) -> None:
        self._frames: dict[tuple[Matcher, ...], list[tuple[_Fetch, list[Frame]]]] = {}
        self._rollups: dict[tuple[Node, Grid], list[RollupFrame]] = {}
        by_matchers: dict[tuple[Matcher, ...], list[_Fetch]] = {}
        for need in _needs(node, times.query, times):
            limits.check()
            matchers = need.selector.matchers
            if (need.reader, need.steps) in self._rollups:
                continue
            rollups = None
            if need.selector.anchoring is None:
                rollups = select_rollups(store, need.reader, matchers, need.grid, need.range_ms)
            if rollups is not None:
                self._rollups[need.reader, need.steps] = rollups
            else:
                fetch = _Fetch(need.grid.start_ms - need.range_ms + 1, need.grid.end_ms)
                by_matchers.setdefault(matchers, []).append(fetch)
        for matchers, fetches in by_matchers.items():
            fetched = self._frames[matchers] = []
            for fetch in _merged(fetches):
                limits.check()
                fetched.append((fetch, store.select(matchers, fetch.start_ms, fetch.end_ms)))
                limits.check_samples(self.samples)
        limits.check()

    @property
    def samples(self) -> int:
        """How many samples were fetched, gaps included; a bucket of a roll-up counts as one."""
        fetches = [frames for fetched in self._frames.values() for _, frames in fetched]
        samples = sum(frame.values.size for frames in fetches for frame in frames)
        rollups = [rollup for fetched in self._rollups.values() for rollup in fetched]
        return samples + sum(len(rollup.labels) * len(rollup.ends_ms) for rollup in rollups)

    @property
    def held_bytes(self) -> int:
        """What the fetched samples take."""
        frames = [frame for fetched in self._frames.values() for _, frames in fetched for frame in frames]
        rollups = [rollup for fetched in self._rollups.values() for rollup in fetched]
        return sum(
            frame.values.nbytes + (0 if frame.present is None else frame.present.nbytes) for frame in frames
        ) + sum(rollup.values.nbytes for rollup in rollups)

    def labels(self, matchers: tuple[Matcher, ...]) -> list[Labels]:
        """The series that were fetched for a selector; of the time that has most of them."""
        fetched = [
            [labels for frame in frames for labels in frame.labels] for _, frames in self._frames.get(matchers, [])
        ]
        return max(fetched, key=len, default=[])

    def reads_rollups(self, reader: Node) -> bool:
        """Whether roll-ups were fetched for a node."""
        return any(node is reader for node, _ in self._rollups)

    def fetches(self, matchers: tuple[Matcher, ...]) -> list[tuple[int, int, int]]:
        """From when to when, and how many samples, were fetched for a selector."""
        return [
            (fetch.start_ms, fetch.end_ms, sum(frame.values.size for frame in frames))
            for fetch, frames in self._frames.get(matchers, [])
        ]

    def rows_together(self, matchers: tuple[Matcher, ...]) -> int:
        """The most series of a frame that were fetched for a selector; small frames are joined."""
        rows = [len(frame.labels) for _, frames in self._frames.get(matchers, []) for frame in frames]
        return sum(rows) if max(rows, default=0) < WIDE_ROWS else max(rows)

    @property
    def most_series(self) -> int:
        """Of the selector that has most of them."""
        return max((len(self.labels(matchers)) for matchers in self._frames), default=0)

    def some_values(self, matchers: tuple[Matcher, ...], count: int) -> FloatArray:
        """At most so many of the values that were fetched for a selector, of all over one frame."""
        for _, frames in self._frames.get(matchers, []):
            for frame in frames:
                values = frame.values.reshape(-1)
                return values[:: max(1, len(values) // count)][:count]
        return np.empty(0)

    @property
    def has_rollups(self) -> bool:
        """Whether anything is read from roll-ups."""
        return bool(self._rollups)

    def rollups(self, reader: Node, steps: Grid) -> list[RollupFrame] | None:
        """The roll-ups fetched for a selector or the call of a function; None where it reads samples."""
        return self._rollups.get((reader, steps))

    def frames(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> list[Frame]:
        """The frames fetched for a selector; they hold at least the samples from start to end."""
        for fetch, frames in self._frames.get(matchers, []):
            if fetch.start_ms <= start_ms and end_ms <= fetch.end_ms:
                return frames
        raise LookupError(f"{start_ms} to {end_ms} was not fetched for {{{', '.join(map(str, matchers))}}}")


def _merged(fetches: list[_Fetch]) -> list[_Fetch]:
    merged: list[_Fetch] = []
    for fetch in sorted(fetches, key=lambda fetch: fetch.start_ms):
        if merged and fetch.start_ms <= merged[-1].end_ms + 1:
            merged[-1].end_ms = max(merged[-1].end_ms, fetch.end_ms)
        else:
            merged.append(fetch)
    return merged


def _needs(node: Node, grid: Grid, times: Times) -> Iterator[_Need]:
    """What each selector is needed for; evaluation goes over the same grids."""
    if grid.count == 0:
        return
    if grid.count > 1 and is_step_invariant(node):
        grid = grid.first_step()
    match node:
        case VectorSelector():
            yield _need(node, node, None, grid, times)
        case MatrixSelector():
            yield _need(node, node.selector, node.range_ms, grid, times)
        case Subquery():
            yield from _needs(node.expr, times.subquery_grid(node, grid), times)
        case Call():
            yield from _needs_of_call(node, grid, times)
        case Aggregation():
            yield from _needs(node.expr, grid, times)
            if node.param is not None:
                yield from _needs(node.param, grid, times)
        case Negation():
            yield from _needs(node.expr, grid, times)
        case Binary():
            yield from _needs(node.lhs, grid, times)
            yield from _needs(node.rhs, grid, times)


def _needs_of_call(call: Call, grid: Grid, times: Times) -> Iterator[_Need]:
    for arg in call.args:
        # These calls look at samples themselves, all others at vectors of the latest ones.
        reads_samples = isinstance(arg, MatrixSelector) or call.name == "timestamp"
        for need in _needs(arg, grid, times):
            yield replace(need, reader=call) if reads_samples and need.reader is arg else need


def _need(reader: Node, selector: VectorSelector, range_ms: int | None, grid: Grid, times: Times) -> _Need:
    offset_ms, length_ms = times.reach(selector, range_ms)
    return _Need(reader, selector, length_ms, grid, times.evaluated(grid, selector.at, offset_ms))
