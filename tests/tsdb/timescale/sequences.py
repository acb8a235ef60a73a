"""Processes that write numbers in sequence, and the proof that each number that was acknowledged is there once."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psycopg
import pytest

from common.matchers import Matcher, MatchType
from tests.fleetwatch_process import eventually
from tests.tsdb.reading import read
from tests.tsdb.timescale.scratch import BLOCK_SAMPLES, JOURNAL_SAMPLES
from tests.tsdb.timescale.sequence_writer import METRIC, START_MS, Orders, encode, instance
from tsdb.model import ABSENT_BITS
from tsdb.store import Queryable
from tsdb.timescale.following import Follower
from tsdb.timescale.options import Options
from tsdb.timescale.spool import inspect
from tsdb.timescale.store import TimescaleStore

RECOVERY_S = 60
EVERYTHING_MS = 10**14
SETTLE_S = 3.0
"""How old what is sealed is where somebody follows. A write takes less, and what the follower may sleep on top."""

# Of which the head has everything.
_YEARS_MS = 10**12

Found = dict[tuple[str, str], list[tuple[int, float]]]
"""By instance and number of the series: milliseconds and value."""

# Of each series and time that is stored more than once, also where readers see one of them.
_TWICE = f"""
SELECT sid, time_ms, count(*) FROM ({BLOCK_SAMPLES} UNION ALL {JOURNAL_SAMPLES}) AS sample(sid, time_ms, seq, bits)
WHERE bits <> {ABSENT_BITS} GROUP BY 1, 2 HAVING count(*) > 1
"""
_SUMS = """
SELECT labels ->> 'instance', labels ->> 'n', count(*), sum(value)
FROM fleetwatch.samples('-infinity', 'infinity') WHERE metric = %s GROUP BY 1, 2
"""


class Python:
    """A `python -m` process that ends with its input. `hear` is called with each line that it says."""

    def __init__(self, module: str, *arguments: str, hear: Callable[[str], None]) -> None:
        self._hear = hear
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def kill(self) -> None:
        """SIGKILL, and everything that it had said is known. Idempotent."""
        self._process.kill()
        self._end()

    def finish(self) -> None:
        """Have it end by itself, without an error, unless it was killed."""
        if self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(RECOVERY_S) == 0
        self._end()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._hear(line)

    def _end(self) -> None:
        self._process.wait(RECOVERY_S)
        self._reading.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Writer:
    """A writer of numbers, over as many processes as are killed."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.spool = Path(orders.spool)
        self.sent = 0
        """The last number that may have been written."""
        targets = [instance(orders.name, place) for place in range(orders.targets)]
        self.acknowledged: dict[str, set[int]] = {target: set() for target in targets}
        self.refused: dict[str, set[int]] = {target: set() for target in targets}
        self._process: Python | None = None

    def start(self) -> None:
        """Begin, or go on after the last number that may have been written."""
        orders = replace(self.orders, first=self.sent + 1)
        self._process = Python("tests.tsdb.timescale.sequence_writer", encode(orders), hear=self._hear)

    def kill(self) -> None:
        """SIGKILL. Idempotent."""
        if self._process is not None:
            self._process.kill()

    def finish(self) -> None:
        """Write nothing more, and be done with all."""
        assert self._process is not None
        self._process.finish()

    def goes_on(self, ticks: int = 20) -> None:
        """Wait until numbers that are yet to be written are acknowledged."""
        goal = self.sent + ticks
        eventually(
            lambda: min([len(numbers) and max(numbers) for numbers in self.acknowledged.values()]),
            goal.__le__,
            RECOVERY_S,
        )

    def waiting(self) -> int:
        """How many writes are in the spool."""
        return inspect(self.spool).records

    def _hear(self, line: str) -> None:
        kind, *place, number = line.split()
        if kind == "t":
            self.sent = int(number)
        else:
            answered = self.acknowledged if kind == "a" else self.refused
            answered[instance(self.orders.name, int(place[0]))].add(int(number))


class Maintainer:
    """A process that maintains, and what it has done."""

    def __init__(self, dsn: str, settle_s: float) -> None:
        self.rounds = self.sealed = self.failed = 0
        self._process = Python("tests.tsdb.timescale.maintainer", dsn, str(settle_s), hear=self._hear)
        self.kill = self._process.kill
        self.finish = self._process.finish

    def _hear(self, line: str) -> None:
        self.rounds += 1
        self.sealed, self.failed = map(int, line.split())


@contextlib.contextmanager
def writing(dsn: str, directory: Path, count: int = 2, **orders: float) -> Iterator[list[Writer]]:
    """Writers that have all written something; killed at the end, if they are not done by then."""
    writers = [
        Writer(Orders(dsn, str(directory / f"writer{n}"), f"writer{n}", **orders))  # type: ignore[arg-type]  # named
        for n in range(count)
    ]
    try:
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.goes_on(1)
        yield writers
    finally:
        for writer in writers:
            writer.kill()


@contextlib.contextmanager
def maintaining(dsn: str, count: int = 1, settle_s: float = SETTLE_S) -> Iterator[list[Maintainer]]:
    """Processes that maintain a database, and have begun to."""
    maintainers = [Maintainer(dsn, settle_s) for _ in range(count)]
    try:
        eventually(lambda: min([one.rounds for one in maintainers]), bool, RECOVERY_S)
        yield maintainers
        for one in maintainers:
            one.finish()
    finally:
        for one in maintainers:
            one.kill()


@contextlib.contextmanager
def reading(dsn: str, directory: Path, head: bool) -> Iterator[TimescaleStore]:
    """A store that reads, from its head or from the database."""
    with pytest.MonkeyPatch.context() as patch:
        # As these maintainers seal early, it looks at blocks early.
        patch.setattr("tsdb.timescale.store.Follower", partial(Follower, pause_s=SETTLE_S / 4))
        store = TimescaleStore(dsn, Options(directory, head_ms=_YEARS_MS if head else 0, pool_size=4))
    try:
        yield store
    finally:
        store.close()


def finish(writers: list[Writer]) -> None:
    """Have everything in the database: what the writers leave in their spools too."""
    for writer in writers:
        eventually(writer.waiting, lambda records: records == 0, RECOVERY_S)
        writer.finish()
    for writer in writers:
        # The last ticks may have met a spool that was not empty.
        if writer.waiting():
            with reading(writer.orders.dsn, writer.spool, head=False):
                eventually(writer.waiting, lambda records: records == 0, RECOVERY_S)


def found(store: Queryable) -> Found:
    """What a store has of the numbers."""
    samples = read(store, [Matcher("__name__", MatchType.EQUAL, METRIC)], 0, EVERYTHING_MS)
    return {
        (labels.get("instance"), labels.get("n")): [
            (time_ms, float(np.uint64(value).view(np.float64))) for time_ms, value in values
        ]
        for labels, values in samples.items()
    }


def check(writers: list[Writer], directory: Path, *stores: TimescaleStore) -> int:
    """Every number that was acknowledged is there once, in SQL and in stores; how many samples there are.

    A number that was neither acknowledged nor refused, by a process that was killed, may be there. `stores` have been
    open all the time.
    """
    dsn = writers[0].orders.dsn
    with reading(dsn, directory, head=False) as fresh, reading(dsn, directory / "head", head=True) as head:
        for store in (*stores, head):
            store.catch_up()
        everything = found(fresh)
        for store in (*stores, head):
            assert found(store) == everything
    for writer in writers:
        possible = set(range(1, writer.sent + 1))
        for target, numbers in writer.acknowledged.items():
            for n in range(writer.orders.series):
                samples = everything[target, str(n)]
                assert [time_ms for time_ms, _ in samples] == [
                    START_MS + round(value) * writer.orders.step_ms for _, value in samples
                ]
                there = {round(value) for _, value in samples}
                assert numbers - there == set(), f"{target}: acknowledged and lost"
                assert there - possible == set(), f"{target}: never written"
                assert there & writer.refused[target] == set(), f"{target}: refused and stored"
    with psycopg.connect(dsn) as connection:
        assert connection.execute(_TWICE.encode()).fetchall() == []
        sums = connection.execute(_SUMS.encode(), (METRIC,)).fetchall()
    assert {(target, n): (count, total) for target, n, count, total in sums} == {
        series: (len(samples), sum([value for _, value in samples])) for series, samples in everything.items()
    }
    return sum(map(len, everything.values()))
