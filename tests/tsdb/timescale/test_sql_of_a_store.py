"""SQL reads of a store what PromQL reads of it: from the journal, from blocks, and after a delete."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from common.labels import Labels
from common.matchers import Matcher, MatchType
from tests.tsdb.timescale.databases import Stores
from tests.tsdb.timescale.engines import ENGINES, empty_database
from tests.tsdb.timescale.written import read
from tsdb.model import ABSENT, STALE_NAN, STALE_NAN_BITS, Batch
from tsdb.timescale.store import TimescaleStore

pytest_plugins = ["tests.databases"]

HOUR_MS = 3600_000
NOW_MS = time.time_ns() // 1_000_000
START_MS = NOW_MS - 6 * HOUR_MS

ANY = [Matcher("job", MatchType.EQUAL, "node")]


@pytest.fixture(params=ENGINES)
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    """Of a new database."""
    stores = Stores(empty_database(request, request.param), tmp_path)
    yield stores
    stores.close()


def by_promql(store: TimescaleStore) -> dict[tuple[str, int], int]:
    """The bits of all samples that are no staleness markers, by labels and ms."""
    found = {}
    for frame in store.select(ANY, START_MS, NOW_MS):
        for row, labels in enumerate(frame.labels):
            for column, bits in enumerate(frame.values[row].view(np.uint64).tolist()):
                if bits != STALE_NAN_BITS and (frame.present is None or frame.present[row, column]):
                    found[str(labels), int(frame.times_ms[column])] = bits
    return found


def by_sql(stores: Stores) -> dict[tuple[str, int], int]:
    """The same."""
    with psycopg.connect(stores.dsn) as connection:
        connection.execute("SET LOCAL jit = off")
        series = connection.execute("SELECT series_id, labels::text FROM fleetwatch.series").fetchall()
        labels = {series_id: str(Labels.of(json.loads(text))) for series_id, text in series}
        return {
            (labels[series_id], time_ms): bits
            for (series_id, time_ms), bits in read(connection, "SELECT * FROM fleetwatch.samples").items()
        }


def test_sql_and_promql_read_the_same(stores: Stores) -> None:
    random = np.random.default_rng(1)
    store = stores.open()
    batches = []
    for number in range(3):
        instance = f"host{number}:9100"
        target = store.register_target(Labels.of(job="node", instance=instance))
        hostile = {"__name__": "größe", "quote": "'\"\\;--", "emoji": "😀" * 100, "line": "\n"}
        names = [hostile, *({"__name__": f"metric_{place}"} for place in range(20))]
        layout = store.layout(
            store.series_ids([Labels.of(name, job="node", instance=instance) for name in names], target)
        )
        for scrape in range(300):
            values = np.round(random.normal(50, 5, len(names)), 2)
            values[random.random(len(names)) < 0.1] = ABSENT
            values[random.random(len(names)) < 0.02] = STALE_NAN
            late_ms = int(random.integers(0, 3)) if scrape % 7 == 0 else 0
            batches.append(Batch(target, layout, START_MS + scrape * 60_000 + number * 1111 + late_ms, values))

    def append(some: list[Batch]) -> None:
        for written in [store.append(batch) for batch in some]:
            written.result(60)

    append(batches)
    in_the_journal = by_promql(store)
    assert by_sql(stores) == in_the_journal
    assert len(in_the_journal) > 15_000

    stores.seal(NOW_MS)
    assert stores.number("SELECT count(*) FROM fleetwatch_data.block") > 100
    assert by_sql(stores) == by_promql(store) == in_the_journal

    # Some once more, with other values: the journal has them beside the blocks.
    append([Batch(one.target_id, one.layout, one.time_ms, one.values[::-1].copy()) for one in batches[::50]])
    changed = by_promql(store)
    assert changed != in_the_journal
    assert by_sql(stores) == changed

    store.delete_series([[Matcher("__name__", MatchType.EQUAL, "metric_3")]], START_MS, START_MS + HOUR_MS, NOW_MS)
    without = by_promql(store)
    assert len(without) < len(changed)
    assert by_sql(stores) == without
