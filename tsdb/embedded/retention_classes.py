"""Retention classes: series that fulfil a class's matchers are kept as long as it says, all others as the store does.

The series of a block are of one class, so that it goes as a whole. What class a series is of depends on its labels
alone, and is found once. The file remembers by which classes its series were told apart, for whoever opens it without a
config.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from common.labels import Labels
from common.matchers import Matcher, MatchType, matches_all
from tsdb.model import IntArray
from tsdb.pieces import Piece

DEFAULT = 0
"""Instead of how long series of no class are kept: as long as the store says."""

Classes = Sequence[tuple[Sequence[Matcher], int]]
"""Matchers, and how many milliseconds is kept what fulfils all of them; the first that fits counts."""

_IN_META = "retention_classes"
"""The row of `meta`: a JSON list of [[[name, operator, value] of each matcher], milliseconds]."""

_MOST_CLASSES = 127
_UNKNOWN = -1


class RetentionClasses:
    """Says how long series are kept. For one thread at a time. Raises ValueError for too many classes."""

    def __init__(self, classes: Classes, labels_of: Callable[[IntArray], list[Labels]]) -> None:
        if len(classes) > _MOST_CLASSES:
            raise ValueError(f"{len(classes)} retention classes: {_MOST_CLASSES} are possible")
        self._classes = classes
        self._matchers = [tuple(matchers) for matchers, _ in classes]
        self._keeps_ms = np.array([*[keep_ms for _, keep_ms in classes], DEFAULT], dtype=np.int64)
        self._labels_of = labels_of
        # By series id.
        self._class_of = np.full(0, _UNKNOWN, dtype=np.int8)

    def are_stored(self, connection: sqlite3.Connection) -> bool:
        """Whether the series of all blocks were told apart by these classes."""
        return _read(connection) == _text(self._classes)

    def store(self, connection: sqlite3.Connection) -> None:
        """Say that the series of all blocks were told apart by these classes."""
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_IN_META, _text(self._classes)))

    def longest_ms(self, default_ms: int) -> int:
        """How long anything is kept, where what is of no class is kept for `default_ms`."""
        return max(default_ms, int(self._keeps_ms.max()))

    def keeps_ms(self, series_ids: IntArray) -> IntArray:
        """int64[N]: how many milliseconds each series is kept, or DEFAULT."""
        size = int(series_ids.max(initial=-1)) + 1
        if size > len(self._class_of):
            grown = np.full(size + size // 8, _UNKNOWN, dtype=np.int8)
            grown[: len(self._class_of)] = self._class_of
            self._class_of = grown
        unknown = series_ids[self._class_of[series_ids] == _UNKNOWN]
        self._class_of[unknown] = [self._find(labels) for labels in self._labels_of(unknown)]
        return self._keeps_ms[self._class_of[series_ids]]

    def split(self, piece: Piece) -> Iterator[tuple[int, Piece]]:
        """(how long it is kept, or DEFAULT; the part of the piece's series that is kept so long)."""
        if not self._matchers:
            yield DEFAULT, piece
            return
        keeps_ms = self.keeps_ms(piece.series_ids)
        for keep_ms in np.unique(keeps_ms).tolist():
            rows = keeps_ms == keep_ms
            yield keep_ms, Piece(piece.times_ms, piece.seqs, piece.series_ids[rows], piece.values[rows])

    def _find(self, labels: Labels) -> int:
        for number, matchers in enumerate(self._matchers):
            if matches_all(matchers, labels):
                return number
        return len(self._matchers)


def stored_classes(connection: sqlite3.Connection) -> Classes:
    """The classes by which the series of all blocks were told apart."""
    return [
        ([Matcher(name, MatchType(kind), value) for name, kind, value in matchers], keep_ms)
        for matchers, keep_ms in json.loads(_read(connection))
    ]


def _read(connection: sqlite3.Connection) -> str:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_IN_META,)).fetchone()
    return "[]" if row is None else str(row[0])


def _text(classes: Classes) -> str:
    return json.dumps(
        [([(one.name, one.type.value, one.value) for one in matchers], keep_ms) for matchers, keep_ms in classes]
    )
