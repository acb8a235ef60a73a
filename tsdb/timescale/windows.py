"""Windows: the spans of time that blocks are made for. Each target's begin at a time of its own.

So the targets of a fleet fall due one after the other, and not all at once every two hours.
"""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from tsdb.model import BoolArray, IntArray
from tsdb.pieces import Piece
from tsdb.timescale.block_rows import WINDOW_MS

# 2 ** 32 divided by the golden ratio: multiples of it, modulo 2 ** 32, are spread evenly however many there are.
_SPREAD = 2_654_435_769

Share = tuple[int, int]
"""The start of a window, and which of the deletes there are hide a sample by its write: how many do not."""


def phase_ms(target_id: int) -> int:
    """How long after a multiple of WINDOW_MS the windows of a target begin."""
    return (target_id * _SPREAD % 2**32) * WINDOW_MS >> 32


def last_start_ms(target_id: int, time_ms: int) -> int:
    """The start of the window of a target that has a time: the end of the one before."""
    return (time_ms - phase_ms(target_id)) // WINDOW_MS * WINDOW_MS + phase_ms(target_id)


def windows(pieces: Iterable[Piece], target_id: int) -> dict[int, list[Piece]]:
    """Pieces cut so that each lies in one window, by its start."""
    nothing = np.empty(0, dtype=np.int64)
    return {start_ms: some for (start_ms, _), some in shares(pieces, target_id, nothing).items()}


def shares(pieces: Iterable[Piece], target_id: int, upto_seqs: IntArray) -> dict[Share, list[Piece]]:
    """Pieces cut so that each lies in one window, and no `upto_seqs` of a delete divides the writes it comes from."""
    found: defaultdict[Share, list[Piece]] = defaultdict(list)
    for piece in pieces:
        starts = (piece.times_ms - phase_ms(target_id)) // WINDOW_MS * WINDOW_MS + phase_ms(target_id)
        since = np.searchsorted(upto_seqs, piece.seqs)
        for start_ms, number in sorted(set(zip(starts.tolist(), since.tolist(), strict=True))):
            chosen = (starts == start_ms) & (since == number)
            found[start_ms, number].append(piece if chosen.all() else _columns(piece, chosen))
    return found


def _columns(piece: Piece, chosen: BoolArray) -> Piece:
    return Piece(piece.times_ms[chosen], piece.seqs[chosen], piece.series_ids, piece.values[:, chosen])
