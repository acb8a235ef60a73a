"""What people read in SQL is what was written, wherever it is, and a time range touches its own chunks only."""

import json
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg import errors
from psycopg.sql import SQL, Identifier

from tests.tsdb.timescale.engines import ENGINES, empty_database
from tests.tsdb.timescale.written import Written, read, values
from tsdb.logwords import words
from tsdb.model import ABSENT_BITS, STALE_NAN_BITS, server_id_of
from tsdb.timescale.migrate import migrate
from tsdb.timescale.partitions import Partitions

pytest_plugins = ["tests.databases"]

NOW_MS = time.time_ns() // 60_000_000_000 * 60_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3600_000, 86400_000

IN_RANGE = "SELECT * FROM fleetwatch.samples(to_timestamp(%s / 1000.0), to_timestamp(%s / 1000.0))"

HOSTILE_LABELS = [
    {"__name__": "quotes", "a": "'\"; DROP TABLE series; --", "b": "\\x00 \\' $$ $1 %s %(a)s {}"},
    {"__name__": "white", "a": "\n\t\r\u2028", "'; --": "name"},
    {"__name__": "größe", "ключ": "значение", "😀": "🏁" * 300},
    {"__name__": "n" * 5000, "long": "v" * 10_000},
    {"no_name": "at all"},
]


@pytest.fixture(params=ENGINES, scope="module")
def dsn(request: pytest.FixtureRequest) -> str:
    """A database with the tables."""
    dsn = empty_database(request, request.param)
    migrate(dsn)
    return dsn


@pytest.fixture
def connection(dsn: str) -> Iterator[psycopg.Connection]:
    """Of the owner; whatever is done is undone."""
    with psycopg.connect(dsn) as connection:
        # As the docs say: compiling takes seconds where there are many partitions.
        connection.execute("SET LOCAL jit = off")
        yield connection
        connection.rollback()


def test_every_sample_is_read_once_from_wherever_it_is(connection: psycopg.Connection) -> None:
    random = np.random.default_rng(6)
    written = Written(connection)
    bits = [
        *np.array([0.0, -0.0, 1.5, np.inf, -np.inf, 1e308, 5e-324, np.nan]).view(np.uint64).tolist(),
        STALE_NAN_BITS,
        ABSENT_BITS,
    ]

    def some(count: int) -> np.ndarray:
        return values(random.choice(np.array(bits, dtype=np.uint64), count).tolist())

    targets = [written.target(f"host{number}") for number in range(3)]
    for number, target in enumerate(targets):
        sids = [written.series(target, {**labels, "n": str(number)}) for labels in HOSTILE_LABELS]
        start_ms = NOW_MS - DAY_MS - HOUR_MS
        for sid in sids:
            # Windows one after the other, on the grid and off it, and late rows that overlap them.
            for window in range(4):
                first_ms = start_ms + window * 2 * HOUR_MS + number * 137
                written.block(sid, first_ms, 300_000, some(24))
                late_ms = first_ms + int(random.integers(0, 12)) * 300_000
                written.block(sid, late_ms, 300_000, some(5), random.integers(-1, 3, 5).tolist())
            written.block(sid, start_ms + DAY_MS // 2, 0, some(3), [0, 17, 7_199_999])
            written.block(sid, start_ms, 0, some(1))
        layouts = [(written.layout(order), order) for order in (sids, sids[::-1], sids[1:4])]
        for number_of_scrape in range(20):
            layout_id, order = layouts[number_of_scrape % 3]
            # Some are as late as the blocks are, and some come twice.
            age_ms = int(random.choice([0, 0, 20 * HOUR_MS])) + number_of_scrape // 2 * 300_000
            written.scrape(target, layout_id, order, start_ms + DAY_MS - age_ms, some(len(order)))
        layout_id, order = layouts[0]
        own_ms = [start_ms + int(age_ms) for age_ms in random.integers(0, DAY_MS, len(order))]
        written.scrape(target, layout_id, order, NOW_MS, some(len(order)), own_ms)
    # A series of one target that another one sends too.
    sid = written.series(targets[0], {"__name__": "shared"})
    layout_id = written.layout([sid])
    connection.execute("INSERT INTO fleetwatch_data.series_sharing VALUES (%s, %s)", [sid, targets[1]])
    for target in targets[:2]:
        written.scrape(target, layout_id, [sid], NOW_MS - target * 1000, values(bits[2:3]))

    # A large scrape beside a small one; the other series of its layout are gone.
    sid = written.series(targets[2], {"__name__": "of_many"})
    for others in (10, 30_000):
        order = [sid, *range(-others, 0)]
        time_ms = NOW_MS - others * 1000
        written.scrape(targets[2], written.layout(order), order, time_ms, random.random(len(order)))

    everything = {key: bits for key, bits in written.expected(-(2**62), 2**62).items() if key[0] > 0}
    large = "SELECT count(*) FROM fleetwatch_data.journal WHERE pg_column_size(v) > 65536"
    assert connection.execute(large.encode()).fetchone() == (1,)
    assert read(connection, "SELECT * FROM fleetwatch.samples") == everything
    assert STALE_NAN_BITS in {kept for _, kept in written.last.values()}
    assert len(everything) > 1000
    times_ms = sorted({time_ms for _, time_ms in everything})
    for _ in range(20):
        from_ms, to_ms = sorted(int(x) for x in random.choice(times_ms, 2))
        expected = {key: bits for key, bits in everything.items() if from_ms <= key[1] < to_ms}
        assert read(connection, IN_RANGE, from_ms, to_ms) == expected, (from_ms, to_ms)
    stored = {
        (sid, json.dumps(labels, sort_keys=True), server_id)
        for sid, labels, server_id in connection.execute(
            "SELECT DISTINCT series_id, labels, server_id FROM fleetwatch.samples"
        )
    }
    assert len(stored) == len({sid for sid, _ in everything})
    hostile = {**HOSTILE_LABELS[0], "n": "1"}
    assert (server_id_of("host1"), json.dumps(hostile, sort_keys=True)) in {row[1:][::-1] for row in stored}


def test_deleted_samples_are_hidden_and_those_written_later_are_not(connection: psycopg.Connection) -> None:
    written = Written(connection)
    target = written.target("host")
    sid, other = (written.series(target, {"__name__": name}) for name in ("a", "b"))
    for one in (sid, other):
        written.block(one, NOW_MS - HOUR_MS, 60_000, np.arange(30.0))
    connection.execute(
        "INSERT INTO fleetwatch_data.tombstones"
        " (matchers, sids, start_ms, end_ms, upto_seq, created_ms, expires_ms, series, samples)"
        " VALUES ('[]', %s, %s, %s, %s, 0, 0, 1, 10)",
        [[sid], NOW_MS - HOUR_MS, NOW_MS - 51 * MINUTE_MS, written.seq],
    )
    written.block(sid, NOW_MS - HOUR_MS + 5 * MINUTE_MS, 60_000, np.arange(2.0))

    found = read(connection, IN_RANGE, 0, NOW_MS)

    kept_ms = sorted(time_ms for one, time_ms in found if one == sid)
    assert kept_ms == [NOW_MS - minutes * MINUTE_MS for minutes in (55, 54, *range(50, 30, -1))]
    assert sum(one == other for one, _ in found) == 30


@pytest.mark.parametrize("query", ["SELECT * FROM fleetwatch.samples({})", "SELECT * FROM fleetwatch.metrics({})"])
def test_a_time_range_touches_its_own_chunks_only(connection: psycopg.Connection, query: str) -> None:
    written = Written(connection)
    sid = written.series(written.target("host"), {"__name__": "node_load1"})
    for day in range(10):
        written.block(sid, NOW_MS - day * DAY_MS - HOUR_MS, 60_000, np.arange(60.0))
    connection.execute("ANALYZE")

    def touched(bounds: str) -> set[str]:
        plan = connection.execute(f"EXPLAIN (ANALYZE) {query.format(bounds)}".encode()).fetchall()
        names = {
            name
            for name, *_ in connection.execute(
                "SELECT relname FROM pg_class c JOIN fleetwatch_data.parts p ON p.part = c.oid WHERE relation = 'block'"
            )
        }
        # What the plan has, less what was found at its start not to be needed.
        lines = [line for (line,) in plan if "never executed" not in line]
        return {name for name in names if any(re.search(rf"\b{name}\b", line) for line in lines)}

    assert len(touched("'-infinity', 'infinity'")) >= 9
    assert 1 <= len(touched("now() - interval '5 days', now() - interval '5 days' + interval '1 hour'")) <= 2


def test_counters_grow_by_steps_through_resets(connection: psycopg.Connection) -> None:
    written = Written(connection)
    labels = {"__name__": "node_network_receive_bytes_total", "device": "eth0"}
    sid = written.series(written.target("host"), labels)
    start_ms = NOW_MS - HOUR_MS
    # 10 a second, from 0 again at the 20th minute.
    written.block(sid, start_ms, 15_000, np.concatenate([150.0 * np.arange(80), 150.0 * np.arange(160)]))

    rows = connection.execute(
        "SELECT value, labels FROM fleetwatch.rate(%s, to_timestamp(%s), to_timestamp(%s), '10 minutes') ORDER BY time",
        [json.dumps(labels), start_ms / 1000, NOW_MS / 1000],
    ).fetchall()

    expected = 10.0 if NOW_MS % (10 * MINUTE_MS) == 0 else None
    assert all(found == labels for _, found in rows)
    assert sum(value == 10 for value, _ in rows) >= len(rows) - 1
    # The step with the reset lost what was counted between the last sample before it and the reset.
    assert min(value for value, _ in rows) == pytest.approx(10 * 39 / 40, abs=0.2), expected


def test_metrics_of_a_server_by_minute(connection: psycopg.Connection) -> None:
    written = Written(connection)
    target = written.target("host")
    start_ms = NOW_MS - 10 * MINUTE_MS

    def store(name: str, samples: np.ndarray, **labels: str) -> None:
        sid = written.series(target, {"__name__": name, **labels})
        written.block(sid, start_ms, 15_000, samples)

    scrapes = np.arange(40.0)
    for cpu in ("0", "1"):
        store("node_cpu_seconds_total", scrapes * 12, cpu=cpu, mode="idle")
        store("node_cpu_seconds_total", scrapes * 3, cpu=cpu, mode="user")
    store("node_memory_MemTotal_bytes", np.full(40, 1000.0))
    store("node_memory_MemAvailable_bytes", np.full(40, 250.0))
    for mountpoint, available in (("/", 100.0), ("/boot", 1.0)):
        store("node_filesystem_avail_bytes", np.full(40, available), mountpoint=mountpoint)
        store("node_filesystem_size_bytes", np.full(40, 400.0), mountpoint=mountpoint)
    for device, growth in (("lo", 7.0), ("eth0", 1500.0), ("eth1", 3000.0)):
        store("node_network_receive_bytes_total", scrapes * growth, device=device)
    store("node_load1", scrapes)

    rows = connection.execute(
        "SELECT server_id, cpu_usage, memory_usage, disk_usage, network_receive_bytes / 4, network_transmit_bytes,"
        " load1, extract(epoch FROM timestamp)::bigint * 1000"
        " FROM fleetwatch.metrics(to_timestamp(%s), to_timestamp(%s)) ORDER BY timestamp",
        [start_ms / 1000 + 60, NOW_MS / 1000],
    ).fetchall()

    assert len(rows) == 9
    for minute, row in enumerate(rows, 1):
        expected = (server_id_of("host"), 20, 75, 75, 300, None, 4 * minute + 1.5, start_ms + minute * MINUTE_MS)
        assert row[:6] == pytest.approx(expected[:6])
        assert row[6:] == expected[6:]


def test_a_view_of_a_metric_has_a_column_for_each_label(connection: psycopg.Connection) -> None:
    written = Written(connection)
    target = written.target("host")
    name = "odd \"metric'; --"
    labels = {"__name__": name, "time": "noon", "label_time": "x", 'it\'s "so"': "'\"; SELECT 1"}
    written.block(written.series(target, labels), NOW_MS - HOUR_MS, 60_000, np.arange(10.0))

    assert connection.execute("SELECT fleetwatch.create_metric_view(%s)", [name]).fetchone() == (name,)
    quoted = Identifier("fleetwatch", name)
    for source in (SQL("{}"), SQL("{}(now() - interval '1 day', now())")):
        cursor = connection.execute(SQL("SELECT * FROM {} ORDER BY time").format(source.format(quoted)))
        assert [column.name for column in cursor.description or ()] == [
            "time",
            "value",
            "server_id",
            'it\'s "so"',
            "label_time",
            "label_label_time",
        ]
        rows = cursor.fetchall()
        assert [row[1:] for row in rows][:1] == [(0.0, server_id_of("host"), "'\"; SELECT 1", "x", "noon")]
        assert len(rows) == 10
    # Made anew, it has the labels that there are then.
    written.series(target, {"__name__": name, "zone": "a"})
    connection.execute("SELECT fleetwatch.create_metric_view(%s)", [name])
    names = [column.name for column in connection.execute(SQL("SELECT * FROM {}").format(quoted)).description or ()]
    assert names[-1] == "zone"


@pytest.mark.parametrize(
    ("metric", "view", "message"),
    [
        ("samples", None, "there is another view fleetwatch.samples: give this one another name"),
        ("m" * 64, None, "a view's name has at most 63 bytes"),
        ("unknown", None, "there are no series of metric unknown"),
    ],
)
def test_a_view_that_cannot_be_is_refused(
    connection: psycopg.Connection, metric: str, view: str | None, message: str
) -> None:
    written = Written(connection)
    if metric != "unknown":
        written.series(written.target("host"), {"__name__": metric})
    with pytest.raises(errors.RaiseException, match=re.escape(message)):
        connection.execute("SELECT fleetwatch.create_metric_view(%s, %s)", [metric, view])


def test_the_examples_of_the_docs_run(connection: psycopg.Connection) -> None:
    _store_what_the_docs_ask_for(connection)
    text = (Path(__file__).parents[3] / "docs/sql.md").read_text()
    examples = re.findall(r"^```sql(?P<needs> narrow)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    narrow = connection.execute("SELECT fleetwatch_data.make_narrow()").fetchone() == (True,)
    assert len(examples) >= 10
    ran = 0
    for needs, statement in examples:
        if needs and not narrow:
            continue
        rows = connection.execute(statement.encode()).fetchall()
        # Nothing is sealed here into rows.
        assert rows or needs, statement
        ran += 1
    assert ran == len(examples) - (not narrow)


def _store_what_the_docs_ask_for(connection: psycopg.Connection) -> None:
    # The examples ask for the last minutes: those of this moment, however long the tests before took.
    now_ms = time.time_ns() // 60_000_000_000 * 60_000
    written = Written(connection)
    target = written.target("web1")
    common = {"job": "node", "instance": "web1:9100"}
    names: list[dict[str, str]] = [
        {"__name__": "node_cpu_seconds_total", "cpu": "0", "mode": "idle"},
        {"__name__": "node_cpu_seconds_total", "cpu": "0", "mode": "user"},
        {"__name__": "node_network_receive_bytes_total", "device": "eth0"},
        {"__name__": "node_filesystem_avail_bytes", "mountpoint": "/", "device": "/dev/vda1"},
        *({"__name__": name} for name in ("up", "node_load1", "node_load5", "node_memory_MemAvailable_bytes")),
    ]
    sids = [written.series(target, {**labels, **common}) for labels in names]
    layout_id = written.layout(sids)
    for number, sid in enumerate(sids):
        written.block(sid, now_ms - 2 * HOUR_MS, 15_000, np.arange(360.0) + number)
    for scrape in range(120):
        time_ms = now_ms - 30 * MINUTE_MS + scrape * 15_000
        written.scrape(target, layout_id, sids, time_ms, np.arange(float(len(sids))) + 400 + scrape)
    message = "Connection refused by 10.0.0.1"
    Partitions().ensure(connection, "logs", now_ms, now_ms)
    connection.execute(
        "INSERT INTO fleetwatch_data.logs VALUES (now(), 0, %s, %s, 'error', 'nginx', %s, '{}', %s)",
        [uuid.uuid4(), server_id_of("web1"), message, sorted(set(words(message)))],
    )
