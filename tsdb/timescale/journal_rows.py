"""Rows of the journal, read: runs of rows of one target and layout as matrices.

Of a row that is compressed as a whole, a few values come at less than the whole row would: the server picks them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tsdb.model import FloatArray, IntArray
from tsdb.timescale import binary
from tsdb.timescale.binary import Int8s, at_least, at_most
from tsdb.timescale.connections import Connection
from tsdb.timescale.layouts import LayoutSids

# A value picked takes about as long as this many that are sent.
_PICKED_FOR = 24
_MOST_PICKED = 8

_TARGETS = """
SELECT target_id FROM fleetwatch_data.series WHERE sid = ANY(%s) AND target_id IS NOT NULL
UNION SELECT target_id FROM fleetwatch_data.series_sharing WHERE sid = ANY(%s)
"""

# The rows of a target and layout come as one, their values as a matrix. All three vectors are in the same order.
_RUNS = """
WITH picks AS MATERIALIZED (
    SELECT layout_id, columns::int[] AS columns, cardinality(columns::int[]) AS picked
    FROM unnest(%(layout_ids)s::int[], %(columns)s::text[]) AS pick(layout_id, columns)
)
SELECT target_id, layout_id, picked IS NOT NULL, array_agg(seq), array_agg(time), array_agg(
    CASE WHEN picked IS NULL THEN v WHEN picked = 1 THEN ARRAY[v[columns[1]]]
        ELSE ARRAY(SELECT v[number] FROM unnest(columns) AS number) END)
FROM fleetwatch_data.journal LEFT JOIN picks USING (layout_id)
WHERE target_id = ANY(%(targets)s) AND time >= %(start)s::timestamptz AND time <= %(end)s::timestamptz
    AND times IS NULL AND cardinality(v) > 0
GROUP BY target_id, layout_id, picked
"""

_OWN_TIMED = """
SELECT seq, layout_id, times, v FROM fleetwatch_data.journal
WHERE target_id = ANY(%s) AND times IS NOT NULL AND cardinality(v) > 0
"""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Rows of a target and layout: `times_ms` int64[T] in any order, `values` float64[T, N] of the series `sids`."""

    sids: IntArray
    times_ms: IntArray
    seqs: IntArray
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class OwnTimed:
    """A row whose samples bring their times: three vectors of the same length."""

    sids: IntArray
    times_ms: IntArray
    seq: int
    values: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class JournalRows:
    """What was found, and how many samples it is."""

    runs: Sequence[Run]
    own_timed: Sequence[OwnTimed]
    samples: int


def read(connection: Connection, layouts: LayoutSids, sids: IntArray, start_ms: int, end_ms: int) -> JournalRows:
    """The rows of all targets that have any of the series, whose sids rise; with other series beside them.

    Rows whose samples bring their times are found whatever those are.
    """
    targets = Int8s(binary.fetch(connection, _TARGETS, (Int8s(sids), Int8s(sids))).int4(0))
    runs = _runs(connection, layouts, sids, targets, at_least(start_ms), at_most(end_ms))
    own_timed = _own_timed(connection, layouts, targets)
    samples = sum([run.values.size for run in runs]) + sum([len(row.sids) for row in own_timed])
    return JournalRows(runs, own_timed, samples)


def _runs(
    connection: Connection, layouts: LayoutSids, sids: IntArray, targets: Int8s, start: str, end: str
) -> list[Run]:
    picks = _picks(layouts, sids)
    parameters = {
        "targets": targets,
        "layout_ids": list(picks),
        "columns": ["{" + ",".join(map(str, (columns + 1).tolist())) + "}" for columns in picks.values()],
        "start": start,
        "end": end,
    }
    rows = binary.fetch(connection, _RUNS, parameters)
    layout_ids = rows.int4(1).tolist()
    known = layouts.get(connection, layout_ids)
    runs = []
    columns = zip(layout_ids, rows.whole(2), rows.whole(3), rows.whole(4), rows.whole(5), strict=True)
    for number, picked, seqs, times, matrix in columns:
        held = known[number][picks[number]] if picked == b"\x01" else known[number]
        values = binary.float8_matrices([matrix]).reshape(-1, len(held))
        runs.append(Run(held, binary.times_array_ms([times]), binary.int8_array(seqs), values))
    return runs


def _own_timed(connection: Connection, layouts: LayoutSids, targets: Int8s) -> list[OwnTimed]:
    rows = binary.fetch(connection, _OWN_TIMED, (targets,))
    layout_ids = rows.int4(1).tolist()
    known = layouts.get(connection, layout_ids)
    return [
        OwnTimed(known[number], binary.times_array_ms([times]), seq, binary.float8_arrays([values]))
        for seq, number, times, values in zip(
            rows.int8(0).tolist(), layout_ids, rows.whole(2), rows.whole(3), strict=True
        )
    ]


def _picks(layouts: LayoutSids, sids: IntArray) -> dict[int, IntArray]:
    """Of layouts that are known, the columns that are better picked."""
    kept = layouts.lately()
    if not kept:
        return {}
    lengths = [len(all_sids) for _, all_sids in kept]
    wanted = np.isin(np.concatenate([all_sids for _, all_sids in kept]), sids)
    picks = {}
    end = 0
    for (number, _), length in zip(kept, lengths, strict=True):
        start, end = end, end + length
        (columns,) = wanted[start:end].nonzero()
        if 0 < len(columns) <= min(_MOST_PICKED, length // _PICKED_FOR):
            picks[number] = columns
    return picks
