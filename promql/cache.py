"""A cache of range queries: a dashboard that asks again is answered with what it was, and only new steps are computed.

What a step shows follows from samples up to its time, for all expressions but a few that are not cached. So whenever
the store says that a sample of some time was written, no step from that time on is served from the cache any more. In
steady operation samples are new, and steps older than a few minutes stay; late samples take back what they may change.
After a delete nothing of before is served, and nothing is older than some minutes anyway: retention may have removed
samples since.
"""

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from promql.engine import Engine
from promql.memory import Claim
from promql.result import Matrix, Result
from promql.stats import QueryStats
from tsdb.cancellation import Cancellation
from tsdb.model import Batch, is_absent

RECENT_MS = 5 * 60 * 1000
"""Steps younger than this, by the newest sample that was written, are not kept: samples for them are still to come."""

MAX_AGE_S = 600.0

# What depends on the bounds of the query, or on samples later than a step. Where a text has it in another sense, such
# as in a label's value, the query is not cached, and that is all.
_NOT_CACHED = re.compile(r"@|\b(?:start|end|range)\s*\(|\boffset\s*[^\d\s]|\bsmoothed\b")

_SERIES_BYTES = 500


class Changing(Protocol):
    """What the cache needs of a store."""

    def follow(self, callback: Callable[[Batch], None]) -> Callable[[], None]:
        """See tsdb.store.Store."""

    def generation(self) -> int:
        """See tsdb.store.Store."""


@dataclass(frozen=True, slots=True)
class _Key:
    expr: str
    step_ms: int
    phase_ms: int
    lookback_ms: int | None


@dataclass(slots=True, eq=False)
class _Entry:
    """A result whose steps up to `until_ms` hold."""

    result: Result
    matrix: Matrix
    until_ms: int
    made_s: float
    nbytes: int


@dataclass(slots=True, eq=False)
class _Computing:
    """A query that runs: the earliest time that was written since it began."""

    earliest_ms: float = field(default=np.inf)


class RangeCache:
    """Range queries of an engine over a store, of at most `budget_bytes`. Thread-safe."""

    def __init__(
        self,
        engine: Engine,
        store: Changing,
        budget_bytes: int,
        recent_ms: int = RECENT_MS,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._store = store
        self._budget_bytes = budget_bytes
        self._recent_ms = recent_ms
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._computing: set[_Computing] = set()
        self._generation = -1
        self._bytes = 0
        self._newest_ms = -(2**62)
        self.steps_served = 0
        self.steps_computed = 0
        self._unfollow = store.follow(self._written)

    def range(
        self,
        expr: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        lookback_ms: int | None = None,
        cancellation: Cancellation | None = None,
        memory: Claim | None = None,
    ) -> Result:
        """As Engine.range."""

        def compute(from_ms: int) -> Result:
            return self._engine.range(
                expr, from_ms, end_ms, step_ms, lookback_ms=lookback_ms, cancellation=cancellation, memory=memory
            )

        if step_ms <= 0 or end_ms < start_ms or _NOT_CACHED.search(expr):
            return compute(start_ms)
        key = _Key(expr, step_ms, start_ms % step_ms, lookback_ms)
        computing = _Computing()
        generation = self._store.generation()
        with self._lock:
            self._forget_before(generation)
            self._computing.add(computing)
            entry = self._valid(key, start_ms)
            known = None if entry is None else _steps(entry.matrix, start_ms, min(entry.until_ms, end_ms))
        try:
            if known is None or entry is None:
                result = compute(start_ms)
            elif int(known.times_ms[-1]) + step_ms <= end_ms:
                result = _joined(entry.result, known, compute(int(known.times_ms[-1]) + step_ms))
            else:
                result = replace(entry.result, value=_with_samples(known), stats=QueryStats())
            if isinstance(result.value, Matrix):
                self._keep(key, result, result.value, computing, entry)
                served = 0 if known is None else len(known.times_ms)
                self.steps_served += served
                self.steps_computed += len(result.value.times_ms) - served
        finally:
            with self._lock:
                self._computing.discard(computing)
        return result

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        for computing in self._computing:
            computing.earliest_ms = -np.inf
        self._entries.clear()
        self._bytes = 0

    def close(self) -> None:
        """No longer follow the store."""
        self._unfollow()
        self.clear()

    def _valid(self, key: _Key, start_ms: int) -> _Entry | None:
        """What is known from a step on."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.made_s + MAX_AGE_S < self._clock_s():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry if int(entry.matrix.times_ms[0]) <= start_ms <= entry.until_ms else None

    def _keep(self, key: _Key, result: Result, matrix: Matrix, computing: _Computing, entry: _Entry | None) -> None:
        nbytes = matrix.values.nbytes + matrix.present.nbytes + len(matrix.labels) * _SERIES_BYTES + 1000
        with self._lock:
            until_ms = min(self._newest_ms - self._recent_ms, computing.earliest_ms - 1, int(matrix.times_ms[-1]))
            if nbytes > self._budget_bytes or until_ms < matrix.times_ms[0]:
                return
            self._remove(key)
            # What came of an older entry is as old as that.
            made_s = self._clock_s() if entry is None else entry.made_s
            self._entries[key] = _Entry(result, matrix, int(until_ms), made_s, nbytes)
            self._bytes += nbytes
            while self._bytes > self._budget_bytes:
                self._remove(next(iter(self._entries)))

    def _remove(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= entry.nbytes

    def _forget_before(self, generation: int) -> None:
        """Forget what was found, or is being computed, before the store was of a generation."""
        if generation > self._generation:
            self._generation = generation
            self._clear()

    def _written(self, batch: Batch) -> None:
        """Follows the store."""
        time_ms = batch.time_ms
        if batch.times_ms is not None:
            time_ms = int(batch.times_ms[~is_absent(batch.values)].min(initial=time_ms))
        with self._lock:
            self._newest_ms = max(self._newest_ms, batch.time_ms)
            for computing in self._computing:
                computing.earliest_ms = min(computing.earliest_ms, time_ms)
            for key, entry in list(self._entries.items()):
                entry.until_ms = min(entry.until_ms, time_ms - 1)
                if entry.until_ms < entry.matrix.times_ms[0]:
                    self._remove(key)


def _steps(matrix: Matrix, start_ms: int, end_ms: int) -> Matrix:
    """The steps from start to end; all series."""
    low, high = np.searchsorted(matrix.times_ms, [start_ms, end_ms + 1])
    columns = slice(int(low), int(high))
    return Matrix(matrix.times_ms[columns], matrix.labels, matrix.values[:, columns], matrix.present[:, columns])


def _with_samples(matrix: Matrix) -> Matrix:
    """The series that have any sample."""
    rows = np.flatnonzero(matrix.present.any(axis=1))
    if len(rows) == len(matrix.labels):
        return matrix
    labels = [matrix.labels[row] for row in rows.tolist()]
    return Matrix(matrix.times_ms, labels, matrix.values[rows], matrix.present[rows])


def _joined(known_result: Result, known: Matrix, computed: Result) -> Result:
    """Known steps, and those computed that follow them."""
    new = computed.value
    if not isinstance(new, Matrix):
        raise TypeError(f"a range query answered {type(new).__name__}")
    labels = sorted({*known.labels, *new.labels})
    rows = {series: row for row, series in enumerate(labels)}
    times_ms = np.concatenate([known.times_ms, new.times_ms])
    values, present = np.empty((len(labels), len(times_ms))), np.zeros((len(labels), len(times_ms)), np.bool_)
    steps = len(known.times_ms)
    for part, columns in ((known, slice(0, steps)), (new, slice(steps, None))):
        own = [rows[series] for series in part.labels]
        values[own, columns], present[own, columns] = part.values, part.present
    return Result(
        _with_samples(Matrix(times_ms, labels, values, present)),
        list(dict.fromkeys([*known_result.warnings, *computed.warnings])),
        list(dict.fromkeys([*known_result.infos, *computed.infos])),
        computed.stats,
    )
