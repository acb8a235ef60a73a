"""The hypertable `sample`, a row for each sample: for continuous aggregates and for SQL that wants one.

Sealed samples go into it a window at a time, which TimescaleDB compresses while it takes them (direct compress), as
long as they come in the order of series and time and after what is there; before version 2.24 only where no continuous
aggregate is made of them. Others, as late ones, are plain rows, which the columnstore policy compresses later. A sample
that is written again is there twice.
"""

from collections.abc import Iterable, Sequence
from typing import LiteralString

import numpy as np

from tsdb.errors import StoreOpenError
from tsdb.model import is_absent
from tsdb.pieces import Piece, join
from tsdb.timescale import copy_rows
from tsdb.timescale.connections import Connection
from tsdb.timescale.copy_rows import Numbers
from tsdb.timescale.editions import Server
from tsdb.timescale.meta import FOR_EVER_MS, NEVER_MS

OLDEST_TIMESCALEDB = (2, 21)
"""The first that compresses what COPY brings."""

_COPY = "COPY fleetwatch_data.sample (ts, sid, v) FROM STDIN (FORMAT binary)"

_COMPRESS: LiteralString = """
SET LOCAL timescaledb.enable_direct_compress_copy = on;
SET LOCAL timescaledb.enable_direct_compress_copy_client_sorted = on
"""
_DO_NOT_COMPRESS: LiteralString = "SET LOCAL timescaledb.enable_direct_compress_copy = off"


def check_narrow(server: Server) -> None:
    """Raise StoreOpenError unless a server can have the hypertable."""
    version = tuple(int(part) for part in (server.timescaledb or "0.0").split(".")[:2])
    if server.edition != "community" or version < OLDEST_TIMESCALEDB:
        oldest = ".".join(map(str, OLDEST_TIMESCALEDB))
        raise StoreOpenError(
            f"storage.timescaledb.narrow needs the community edition of TimescaleDB, version {oldest} or later, and "
            f"the server is {server.described()}: set it to false, or change the server"
        )


class NarrowTable:
    """Writes samples as rows. For one thread at a time."""

    def write(self, connection: Connection, pieces: Sequence[Piece], sealed_until_ms: int | None) -> None:
        """Write the samples of pieces, series by sids; what is before a time is late. Raises psycopg.Error."""
        before_ms = NEVER_MS if sealed_until_ms is None else sealed_until_ms
        for statement, low_ms, high_ms in (
            (_DO_NOT_COMPRESS, NEVER_MS, before_ms - 1),
            (_COMPRESS, before_ms, FOR_EVER_MS),
        ):
            some = join([piece.within(low_ms, high_ms) for piece in pieces])
            if some:
                connection.execute(statement)
                self._copy(connection, some)

    def _copy(self, connection: Connection, pieces: Iterable[Piece]) -> None:
        sids, times_ms, values = [], [], []
        for piece in pieces:
            rows, columns = np.nonzero(~is_absent(piece.values))
            sids.append(piece.series_ids[rows])
            times_ms.append(piece.times_ms[columns])
            values.append(piece.values[rows, columns])
        ordered = np.lexsort((all_times := np.concatenate(times_ms), all_sids := np.concatenate(sids)))
        row: list[copy_rows.Column] = [
            Numbers.times(all_times[ordered]),
            Numbers.int8(all_sids[ordered]),
            Numbers.float8(np.concatenate(values)[ordered]),
        ]
        copy_rows.copy(connection, _COPY, [copy_rows.encode(len(ordered), row)])
