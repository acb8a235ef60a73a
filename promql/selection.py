"""Which samples a query needs: each selector is fetched once, over the time its windows cover.

The same selector at several places of a query is one fetch where its times meet; far apart (`x - x offset 1w`) they
are two, so that the week between is not read.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from common.matchers import Matcher
from promql.nodes import (
    Aggregation,
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
from promql.vector import Grid
from tsdb.model import Frame
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


class Selection:
    """The frames of every selector of an expression."""

    def __init__(self, store: Queryable, node: Node, times: Times) -> None:
        self._frames: dict[tuple[Matcher, ...], list[tuple[_Fetch, list[Frame]]]] = {}
        needs: dict[tuple[Matcher, ...], list[_Fetch]] = {}
        for matchers, need in _needs(node, times.query, times):
            needs.setdefault(matchers, []).append(need)
        for matchers, fetches in needs.items():
            self._frames[matchers] = [
                (fetch, store.select(matchers, fetch.start_ms, fetch.end_ms)) for fetch in _merged(fetches)
            ]

    @property
    def samples(self) -> int:
        """How many samples were fetched, gaps included."""
        return sum(frame.values.size for fetches in self._frames.values() for _, frames in fetches for frame in frames)

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


def _needs(node: Node, grid: Grid, times: Times) -> Iterator[tuple[tuple[Matcher, ...], _Fetch]]:
    """Each selector's matchers with the time it covers; evaluation goes over the same grids."""
    if grid.count == 0:
        return
    if grid.count > 1 and is_step_invariant(node):
        grid = grid.first_step()
    match node:
        case VectorSelector():
            yield node.matchers, _window(node, times.lookback_ms, grid, times)
        case MatrixSelector():
            yield node.selector.matchers, _window(node.selector, node.range_ms, grid, times)
        case Subquery():
            yield from _needs(node.expr, times.subquery_grid(node, grid), times)
        case Call():
            for arg in node.args:
                yield from _needs(arg, grid, times)
        case Aggregation():
            yield from _needs(node.expr, grid, times)
            if node.param is not None:
                yield from _needs(node.param, grid, times)
        case Negation():
            yield from _needs(node.expr, grid, times)
        case Binary():
            yield from _needs(node.lhs, grid, times)
            yield from _needs(node.rhs, grid, times)


def _window(selector: VectorSelector, range_ms: int, grid: Grid, times: Times) -> _Fetch:
    looked_at = times.evaluated(grid, selector.at, selector.offset_ms)
    return _Fetch(looked_at.start_ms - range_ms + 1, looked_at.end_ms)
