"""Exemplars in the database, read: those of all processes, and with them what this one has not written yet."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np
import orjson

from common.labels import Labels
from tsdb.model import IntArray, SeriesExemplar
from tsdb.timescale import binary
from tsdb.timescale.binary import at_least, at_most
from tsdb.timescale.connections import Connection
from tsdb.timescale.ids import UNKNOWN, Ids

_COLUMNS = "sid, time, value, labels::text, own_time"

_RANGE = f"""
SELECT {_COLUMNS} FROM fleetwatch_data.exemplars
WHERE sid = ANY(%s) AND time >= %s::timestamptz AND time <= %s::timestamptz
"""

_LATEST = f"SELECT {_COLUMNS} FROM fleetwatch_data.exemplars ORDER BY time DESC LIMIT %s"


def select(connection: Connection, ids: Ids, series_ids: IntArray, start_ms: int, end_ms: int) -> list[SeriesExemplar]:
    """The exemplars of series in an inclusive range of time."""
    sids = ids.sids(series_ids)
    parameters = sids[sids != UNKNOWN].tolist(), at_least(start_ms), at_most(end_ms)
    return list(_decoded(binary.fetch(connection, _RANGE, parameters), ids))


def latest(connection: Connection, ids: Ids, limit: int) -> list[SeriesExemplar]:
    """The latest exemplars of all series, in rising order."""
    return list(_decoded(binary.fetch(connection, _LATEST, (limit,)), ids))[::-1]


def merged(exemplars: Iterable[SeriesExemplar]) -> dict[int, list[SeriesExemplar]]:
    """By series, each once and in the order of time."""
    by_series: defaultdict[int, dict[tuple[int, bytes, Labels], SeriesExemplar]] = defaultdict(dict)
    for one in exemplars:
        by_series[one.series_id][one.time_ms, np.float64(one.value).tobytes(), one.labels] = one
    return {
        series_id: sorted(found.values(), key=lambda one: (one.time_ms, one.value, one.labels))
        for series_id, found in by_series.items()
    }


def _decoded(rows: binary.Rows, ids: Ids) -> Iterator[SeriesExemplar]:
    local = ids.locals(rows.int8(0)).tolist()
    columns = zip(local, rows.times_ms(1).tolist(), rows.float8(2).tolist(), rows.whole(3), rows.whole(4), strict=True)
    for series_id, time_ms, value, labels, own_time in columns:
        if series_id != UNKNOWN:
            yield SeriesExemplar(series_id, time_ms, value, Labels.of(orjson.loads(labels)), own_time == b"\x01")
