"""A process that writes numbers in sequence: `python -m tests.tsdb.timescale.sequence_writer ORDERS`, to be killed.

At every tick each of its targets gets a batch, of which every value is the number of the tick. It says on the output
what it does, a line each, written at once:

    t NUMBER         the batches of this tick are about to be appended
    a PLACE NUMBER   the batch of a target is acknowledged
    r PLACE NUMBER   it is refused

It ends when its input does, with whatever waits in the database or in the spool.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from common.labels import Labels
from tsdb.errors import WriteRefusedError
from tsdb.model import Batch
from tsdb.timescale.options import Options
from tsdb.timescale.store import TimescaleStore

METRIC = "sequence_number"
# In the past, so that windows end while the processes run.
START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Orders:
    """What a writer is to do: `step_ms` of the samples' time pass with each tick, which takes `tick_s`."""

    dsn: str
    spool: str
    name: str
    first: int = 1
    targets: int = 3
    series: int = 4
    step_ms: int = 60_000
    tick_s: float = 0.02
    commit_delay_s: float = 0.05
    spool_bytes: int = 1 << 30


def encode(orders: Orders) -> str:
    """The argument that gives the orders."""
    return json.dumps(asdict(orders))


def instance(name: str, place: int) -> str:
    """The label of a writer's target."""
    return f"{name}:{place}"


def main() -> None:
    """Write until the input ends."""
    orders = Orders(**json.loads(sys.argv[1]))
    options = Options(
        Path(orders.spool),
        spool_bytes=orders.spool_bytes,
        head_ms=0,
        commit_delay_s=orders.commit_delay_s,
        start_without=True,
    )
    store = TimescaleStore(orders.dsn, options)
    targets = []
    for place in range(orders.targets):
        labels = Labels.of(job="sequence", instance=instance(orders.name, place))
        series = [
            Labels.of(__name__=METRIC, n=str(n), instance=instance(orders.name, place)) for n in range(orders.series)
        ]
        targets.append((store.register_target(labels), store.layout(store.series_ids(series))))
    ended = threading.Event()
    threading.Thread(target=wait_for_end, args=(ended,), daemon=True).start()
    number = orders.first
    while not ended.wait(orders.tick_s):
        _say(f"t {number}")
        for place, (target_id, layout) in enumerate(targets):
            values = np.full(orders.series, float(number))
            future = store.append(Batch(target_id, layout, START_MS + number * orders.step_ms, values))
            future.add_done_callback(_saying(place, number))
        number += 1
    store.close()


def wait_for_end(ended: threading.Event) -> None:
    """Set it once the input has ended."""
    sys.stdin.read()
    ended.set()


def _saying(place: int, number: int) -> Callable[[Future[None]], None]:
    def say(future: Future[None]) -> None:
        try:
            future.result()
        except WriteRefusedError:
            _say(f"r {place} {number}")
        else:
            _say(f"a {place} {number}")

    return say


def _say(line: str) -> None:
    """One write of less than PIPE_BUF bytes, which cannot be torn."""
    os.write(1, line.encode() + b"\n")


if __name__ == "__main__":
    main()
