"""Processes to be killed: `python -m tests.tsdb.crash_writer`, which has imported all and forks one for each line.

A line of its input is JSON: the fields of `Orders`. The forked process writes to a store until it is killed and says
on the output what it does, a line each, written at once:

    p PID        it has started
    a NUMBER     so many batches are acknowledged
    m NOW_MS     `maintain` is about to be called
    k KIND       a kind of SQL statement is seen for the first time: what it does to which table, or which such kinds
                 are in the transaction that it commits, or are in the one committed just before
    n            the statement to be killed at is about to run
    e TEXT       it failed
    x STATUS     it has ended, from the parent: negative where a signal ended it
"""

import json
import os
import re
import signal
import sqlite3
import sys
import threading
import traceback
from collections import deque
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tests.tsdb.crash_workload import Write, open_small, target_labels, writes
from tsdb import schema  # noqa: F401  # a store in a new directory needs it, and it takes long to import
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.database import Durability
from tsdb.errors import StoreClosedError
from tsdb.model import Batch, Layout

OUTSTANDING = 8
"""How many batches are written at most and not yet known to be acknowledged."""

_LAYOUTS_KEPT = 20
_STATEMENT = re.compile(
    r"\s*((?:INSERT(?: OR \w+)? INTO|DELETE FROM|UPDATE|PRAGMA|CREATE \w+|DROP \w+|ALTER TABLE)\s+\w+|\w+)"
)
# Does not tell transactions apart: reads, and new rows of the catalog, which go with whatever is written next.
_IN_ANY_TRANSACTION = re.compile(r"SELECT|PRAGMA|(INSERT|UPDATE).* (series|series_sharing|targets|layouts|servers)$")


@dataclass(frozen=True)
class Orders:
    """What a writer is to do. `kill_at` is a kind of statement and how many of it pass before."""

    directory: str
    seed: int
    now_ms: int
    close_after: int | None
    kill_at: tuple[str, int] | None
    by_itself: bool
    durability: Durability = "normal"


def main() -> None:
    """Fork a writer for each line of the input."""
    for line in sys.stdin:
        orders = Orders(**json.loads(line))
        process = os.fork()
        if process == 0:
            try:
                _write(orders)
            except BaseException:  # noqa: BLE001  # whatever it is, the parent says it
                _say("e " + json.dumps(traceback.format_exc()[-3000:]))
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        _say(f"x {os.waitstatus_to_exitcode(status)}")


def encode(orders: Orders) -> bytes:
    """The line that gives the orders."""
    return json.dumps(asdict(orders)).encode() + b"\n"


def _say(line: str) -> None:
    """One write of less than PIPE_BUF bytes, which cannot be torn."""
    os.write(1, line.encode() + b"\n")


def _write(orders: Orders) -> None:
    _say(f"p {os.getpid()}")
    _Watch(orders).start()
    store = open_small(Path(orders.directory), orders.durability)
    maintenance = _Maintenance(store)
    layouts: dict[tuple[object, ...], Layout] = {}
    written: deque[Future[None]] = deque()
    acknowledged = 0
    for write in islice(writes(orders.seed, orders.now_ms), orders.close_after):
        written.append(store.append(batch_of(store, layouts, write)))
        maintenance.due(write.now_ms)
        while len(written) == OUTSTANDING or (written and written[0].done()):
            written.popleft().result()
            acknowledged += 1
            _say(f"a {acknowledged}")
    store.close()
    for future in written:
        future.result()
    _say(f"a {acknowledged + len(written)}")


def batch_of(store: EmbeddedStore, layouts: dict[tuple[object, ...], Layout], write: Write) -> Batch:
    """The batch of a write; its layout from a cache that forgets, as a scraper's does."""
    layout = layouts.pop(write.series, None) or store.layout(store.series_ids(write.series))
    layouts[write.series] = layout
    if len(layouts) > _LAYOUTS_KEPT:
        del layouts[next(iter(layouts))]
    times_ms = None if write.times_ms is None else np.array(write.times_ms, dtype=np.int64)
    target_id = store.register_target(target_labels(write.target))
    return Batch(target_id, layout, write.time_ms, np.array(write.values, dtype=np.float64), times_ms)


class _Maintenance:
    """Calls `maintain` in a thread of its own whenever the clock has gone on."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._now_ms = 0
        self._moved = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def due(self, now_ms: int) -> None:
        if now_ms != self._now_ms:
            self._now_ms = now_ms
            self._moved.set()

    def _run(self) -> None:
        try:
            while self._moved.wait():
                self._moved.clear()
                now_ms = self._now_ms
                _say(f"m {now_ms}")
                self._store.maintain(now_ms)
        except StoreClosedError:
            pass
        except BaseException:  # noqa: BLE001  # whatever it is, the parent says it
            _say("e " + json.dumps(traceback.format_exc()[-3000:]))
            os._exit(1)


class _Watch:
    """Looks at every SQL statement of every connection of this process."""

    def __init__(self, orders: Orders) -> None:
        self._kill_at = orders.kill_at[0] if orders.kill_at else None
        self._left = orders.kill_at[1] if orders.kill_at else 0
        self._by_itself = orders.by_itself
        self._seen: set[str] = set()
        # Of each thread: the kinds of its transaction, and the last one committed until the next begins.
        self._of_thread = threading.local()

    def start(self) -> None:
        connect = sqlite3.connect

        def watched(*args: Any, **options: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **options)
            connection.set_trace_callback(self._statement)
            return connection

        sqlite3.connect = watched  # type: ignore[assignment]  # it has many overloads

    def _statement(self, sql: str) -> None:
        kind = kind_of(sql)
        if kind is None:
            return
        mine = self._of_thread.__dict__
        if kind == "BEGIN":
            kind = f"after {mine.pop('committed', 'nothing')}"
            mine["kinds"] = set()
        elif kind == "COMMIT":
            kind = f"COMMIT of {', '.join(sorted(mine.get('kinds', ())))}"
            mine["committed"] = kind
        elif not _IN_ANY_TRANSACTION.match(kind):
            mine.setdefault("kinds", set()).add(kind)
        if kind not in self._seen:
            self._seen.add(kind)
            _say(f"k {kind}")
        if kind == self._kill_at:
            self._left -= 1
            if self._left < 0:
                self._kill_at = None
                _say("n")
                if self._by_itself:
                    os.kill(os.getpid(), signal.SIGKILL)


def kind_of(sql: str) -> str | None:
    """What a statement does to which table; None for the comments with which SQLite reports triggers."""
    found = _STATEMENT.match(sql)
    return None if found is None else " ".join(found[1].split())


if __name__ == "__main__":
    main()
