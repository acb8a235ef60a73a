"""Roll-ups whose samples are gone are moved with the rest of an embedded store."""

import contextlib
from pathlib import Path

import numpy as np

from common.labels import Labels
from common.matchers import Matcher, MatchType
from tests.postgres import PostgresServer
from tsdb.embedded import EmbeddedStore
from tsdb.model import Batch, FloatArray
from tsdb.rollups import RESOLUTIONS_MS, Column
from tsdb.timescale import rollup_rows
from tsdb.timescale.connections import Connections
from tsdb.timescale.migrate import migrate
from tsdb.timescale.tools.move import SampleMover
from tsdb.timescale.tools.move_rollups import move_rollups
from tsdb.timescale.tools.move_source import MoveSource

pytest_plugins = ["tests.databases"]

DAY_MS = 24 * 3600 * 1000
START_MS = 20_000 * DAY_MS
ALL = tuple(Column)
LEFT = [Matcher.equal("__name__", "x"), Matcher("n", MatchType.NOT_EQUAL, "3")]
SERIES = 5


def fill(directory: Path) -> None:
    """Five days, of which the samples of two are past the retention; one series is deleted."""
    embedded = EmbeddedStore(directory, rollup_after_ms=DAY_MS, retention_ms=int(2.6 * DAY_MS))
    with contextlib.closing(embedded) as store:
        target = store.register_target(Labels.of(job="node"))
        layout = store.layout(store.series_ids([Labels.of(__name__="x", n=str(n)) for n in range(SERIES)]))
        random = np.random.default_rng(1)
        for row in range(5 * 288):
            store.append(Batch(target, layout, START_MS + (row + 1) * 300_000, np.round(random.random(SERIES), 3)))
        store.append_logs([]).result()
        for day in range(1, 6):
            store.maintain(START_MS + day * DAY_MS + 3_600_000)
        store.delete_series([[Matcher.equal("n", "3")]], 0, 2**60, START_MS + 5 * DAY_MS)


def expected(source: MoveSource, resolution_ms: int) -> dict[str, FloatArray]:
    """By the label `n`, float64[B, C] of the first day."""
    frames = source.select_rollups(LEFT, START_MS + resolution_ms, START_MS + DAY_MS, resolution_ms, ALL)
    assert frames is not None
    return {labels.get("n"): frame.values[row] for frame in frames for row, labels in enumerate(frame.labels)}


def test_days_without_samples_are_copied_once(timescale_server: PostgresServer, tmp_path: Path) -> None:
    fill(tmp_path / "data")
    dsn = timescale_server.create_database()
    timescale_server.sql("CREATE EXTENSION timescaledb", dsn=dsn)
    migrate(dsn)
    with (
        contextlib.closing(MoveSource(tmp_path / "data")) as source,
        contextlib.closing(Connections(dsn, size=1)) as connections,
    ):
        SampleMover(source, connections).run(lambda done, total: None)
        days = [day.start_ms for day in source.rolled_up()]
        assert days == [START_MS, START_MS + DAY_MS]
        for _ in range(2):
            assert move_rollups(source, connections, lambda done, total: None) == 2
        sids = timescale_server.sql("SELECT labels ->> 'n', sid FROM fleetwatch_data.series", dsn=dsn)
        with connections.transaction() as connection:
            for resolution_ms in RESOLUTIONS_MS:
                wanted = expected(source, resolution_ms)
                assert set(wanted) == {"0", "1", "2", "4"}
                rows = rollup_rows.read(
                    connection, np.array([sid for _, sid in sids]), resolution_ms, days[0], days[0], ALL
                )
                found = dict(zip(rows.sids.tolist(), rows.values, strict=True))
                assert {n: found[sid].tobytes() for n, sid in sids if sid in found} == {
                    n: values.tobytes() for n, values in wanted.items()
                }
        ((count,),) = timescale_server.sql("SELECT count(*) FROM fleetwatch_data.rollup", dsn=dsn)
        assert count == 2 * len(RESOLUTIONS_MS) * (SERIES - 1)
    timescale_server.drop_database(dsn)
