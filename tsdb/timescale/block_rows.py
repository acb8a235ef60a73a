"""Rows of `block`: the samples of one series in a window, written by COPY straight from matrices, and read again.

Sample i of a row is at `ts + i * step + dt[i]` milliseconds; without `dt` all are on the grid. A scrape that came late
so costs a few bytes, and not a time for each sample of the window. What has no rhythm at all has a step of 0. A place
without a sample is ABSENT.

PostgreSQL compresses no row under 2 kB, whatever its settings. Shorter ones are filled up with ABSENT, which costs a
few bytes and saves five or six for each sample.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tsdb.model import ABSENT, FloatArray, IntArray, is_absent
from tsdb.pieces import Piece
from tsdb.timescale import binary, copy_rows
from tsdb.timescale.connections import Connection
from tsdb.timescale.copy_rows import Arrays, Column, Null, Numbers

WINDOW_MS = 2 * 3600 * 1000
"""What a row spans is less: from the first time of its samples to the last one."""

COLUMNS = "sid, ts, seq, step, dt, v"
"""Of `block`, in the order in which `pieces_of` takes them."""

COMPRESSED_FROM = 256
"""Values of a row that is sure to be compressed."""

# Of fewer values a row is mostly header, and compressing would win little.
_FILLED_FROM = 16
# Places of a grid for each sample: more would be slow to read, though they are compressed to nearly nothing.
_MOST_SPARSE = 8

_COPY = "COPY fleetwatch_data.block (ts, sid, seq, step, dt, v) FROM STDIN (FORMAT binary)"


@dataclass(frozen=True, slots=True, eq=False)
class BlockRows:
    """Rows with the same times: `sids` int64[S], `values` float64[S, T], `dt` int32[T] or None."""

    ts_ms: int
    step_ms: int
    dt: npt.NDArray[np.int32] | None
    seq: int
    sids: IntArray
    values: FloatArray


def rows_of(piece: Piece, seq: int) -> Iterator[BlockRows]:
    """Rows of the samples of a piece, which spans less than a window; its series are given by sids.

    `seq` is the number of the last write among those that the samples come from. Series without a sample get no row.
    """
    present = ~is_absent(piece.values)
    if present.all():
        if len(piece.series_ids):
            yield _on_grid(piece, seq)
        return
    last_place = len(piece.times_ms) - 1
    there = np.flatnonzero(present.any(axis=1))
    if not len(there):
        return
    spans = np.stack([present[there].argmax(axis=1), last_place - present[there, ::-1].argmax(axis=1)])
    ranges, range_of = np.unique(spans, axis=1, return_inverse=True)
    for number, (first, last) in enumerate(ranges.T.tolist()):
        rows = there[range_of.reshape(-1) == number]
        places = slice(first, last + 1)
        cut = Piece(piece.times_ms[places], piece.seqs[places], piece.series_ids[rows], piece.values[rows, places])
        yield _on_grid(cut, seq)


def copy(connection: Connection, rows: Iterable[BlockRows]) -> None:
    """Write rows. Raises psycopg.Error."""
    copy_rows.copy(connection, _COPY, map(_encoded, rows))


def pieces_of(rows: binary.Rows) -> list[Piece]:
    """What rows with COLUMNS hold: those with the same times and writes in one piece, series by sids."""
    grouped: defaultdict[tuple[int, int, int, int, bytes | None], list[int]] = defaultdict(list)
    arrays = rows.whole(5)
    keys = zip(
        rows.times_ms(1).tolist(),
        rows.int8(2).tolist(),
        rows.int4(3).tolist(),
        map(len, arrays),
        rows.raw(4),
        strict=True,
    )
    for row, key in enumerate(keys):
        grouped[key].append(row)
    sids = rows.int8(0)
    pieces = []
    for (ts_ms, seq, step_ms, _, dt), members in grouped.items():
        values = binary.float8_arrays([arrays[row] for row in members]).reshape(len(members), -1)
        there = np.flatnonzero((~is_absent(values)).any(axis=0))
        times_ms = ts_ms + np.arange(values.shape[1]) * step_ms + (0 if dt is None else binary.int4_array(dt))
        pieces.append(Piece(times_ms[there], np.full(len(there), seq), sids[members], values[:, there]))
    return pieces


def _on_grid(piece: Piece, seq: int) -> BlockRows:
    times_ms, values = piece.times_ms, piece.values
    base_ms, step_ms = _rhythm(times_ms)
    places = (times_ms - base_ms + step_ms // 2) // step_ms if step_ms else np.arange(len(times_ms))
    dt = times_ms - base_ms - places * step_ms
    if (np.diff(places) < 1).any() or places[-1] >= _MOST_SPARSE * len(places):
        base_ms, step_ms, places, dt = int(times_ms[0]), 0, np.arange(len(times_ms)), times_ms - times_ms[0]
    length = int(places[-1]) + 1
    if step_ms and _FILLED_FROM <= length < COMPRESSED_FROM:
        length = COMPRESSED_FROM
    if length == len(places):
        return BlockRows(base_ms, step_ms, _if_any(dt.astype(np.int32)), seq, piece.series_ids, values)
    spread = np.full((len(values), length), ABSENT)
    spread[:, places] = values
    late = np.zeros(length, dtype=np.int32)
    late[places] = dt
    return BlockRows(base_ms, step_ms, _if_any(late), seq, piece.series_ids, spread)


def _rhythm(times_ms: IntArray) -> tuple[int, int]:
    """A grid, as its first time and step, that most times are near to; it begins with the first one, or just before."""
    first, last = int(times_ms[0]), int(times_ms[-1])
    if first == last:
        return first, 0
    gaps_ms, counts = np.unique(np.diff(times_ms), return_counts=True)
    step = int(gaps_ms[counts.argmax()])
    if 2 * counts.max() <= len(times_ms) - 1:
        # Everything is a bit late or early: the step that fits the whole.
        step = round((last - first) / round((last - first) / float(np.median(np.diff(times_ms)))))
    shifts, counts = np.unique((times_ms - first) % step, return_counts=True)
    begin = first + (int(shifts[counts.argmax()]) - step) % -step
    if 2 * counts.max() <= len(times_ms) or last - begin >= WINDOW_MS:
        begin = first
    return begin, step


def _if_any(dt: npt.NDArray[np.int32]) -> npt.NDArray[np.int32] | None:
    return dt if dt.any() else None


def _encoded(rows: BlockRows) -> memoryview:
    columns: list[Column] = [
        Numbers.times(rows.ts_ms),
        Numbers.int8(rows.sids),
        Numbers.int8(rows.seq),
        Numbers.int4(rows.step_ms),
        Null() if rows.dt is None else Arrays.int4(rows.dt[np.newaxis]),
        Arrays.float8(rows.values),
    ]
    return copy_rows.encode(len(rows.sids), columns)
