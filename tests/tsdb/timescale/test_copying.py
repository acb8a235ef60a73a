"""Rows as COPY takes them, against what the server itself sends for them."""

import numpy as np
import psycopg

from tests.postgres import PostgresServer
from tests.tsdb.timescale.scratch import scratch
from tsdb.model import STALE_NAN_BITS, Batch, IntArray, Layout
from tsdb.timescale.copying import JournalRow, encode, parts


def _row(seq: int, values: list[int], times_ms: IntArray | None = None) -> JournalRow:
    layout = Layout(0, np.arange(len(values)))
    batch = Batch(0, layout, -1 - seq, np.array(values, dtype=np.uint64).view(np.float64), times_ms)
    return JournalRow(seq, 2, 3, 4, 5, batch)


def test_as_the_server_sends_them(timescale_server: PostgresServer) -> None:
    own = np.array([-210_866_803_200_000, 9_224_318_015_999_999])
    rows = [_row(1, [STALE_NAN_BITS, 1 << 63, 0]), _row(2, []), _row(3, [1, 2], own), _row(4, [], own[:0])]
    rows += [_row(seq, [seq]) for seq in range(5, 200)]
    columns = "seq, writer_id, write_no, target_id, time, layout_id, v, times"
    query = f"COPY (SELECT {columns} FROM fleetwatch_data.journal ORDER BY seq) TO STDOUT (FORMAT binary)"
    with scratch(timescale_server) as database, psycopg.connect(database.dsn) as connection:
        with connection.cursor().copy(f"COPY fleetwatch_data.journal ({columns}) FROM STDIN (FORMAT binary)") as copy:
            copy.write(encode(rows))
        with connection.cursor().copy(query) as copy:
            assert b"".join(map(bytes, copy)) == encode(rows)
    assert len(list(parts(rows))) > 3
