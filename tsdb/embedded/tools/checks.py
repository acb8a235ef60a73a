"""Is a store sound? Everything is read once, beside whoever writes to it, as it is at one moment.

Each table has a function that yields what is wrong with its rows; SQLite's own check of the file comes first. A row
that cannot be read is named and does not keep the others from being looked at.
"""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from common.labels import Labels
from tsdb.embedded.blocks import REMOVED
from tsdb.embedded.codec.series import unpack_group
from tsdb.embedded.codec.vectors import unpack_ints, unpack_row
from tsdb.embedded.database import DATABASE_FILE
from tsdb.embedded.migrations import check_schema
from tsdb.embedded.rollups import rows as rollup_rows
from tsdb.embedded.tombstone_rows import decode_selectors
from tsdb.embedded.tools.block_checks import BlockRow, blocks_of_chunks, check_block, chunks_of_block
from tsdb.embedded.tools.inspection import inspected
from tsdb.errors import StoreError
from tsdb.model import IntArray, is_absent

_ROWS_BETWEEN_REPORTS = 100
_RESTORE = "restore a backup (`fleetwatch db restore`)"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong: where, what it is, and what can be done."""

    place: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.fault}; {self.remedy}"


@dataclass(slots=True)
class Checked:
    """What was looked at, and what was found."""

    series: int = 0
    layouts: int = 0
    journal_rows: int = 0
    blocks: int = 0
    samples: int = 0
    findings: list[Finding] = field(default_factory=list)


def check(directory: Path, report: Callable[[int, int], None]) -> Checked:
    """Check a store; `report` is told how many rows were looked at, of how many. Raises StoreOpenError, StoreError."""
    with inspected(directory) as connection:
        check_schema(connection, directory / DATABASE_FILE)
        work = _Check(connection, report)
        for part in (
            work.file,
            work.series,
            work.targets,
            work.layouts,
            work.journal,
            work.blocks,
            work.repeats,
            work.chunks,
            work.rollups,
            work.tombstones,
        ):
            try:
                work.result.findings += part()
            except sqlite3.DatabaseError as error:
                work.result.findings.append(Finding(f"the {part.__name__}", f"cannot be read: {error}", _RESTORE))
        return work.result


class _Check:
    def __init__(self, connection: sqlite3.Connection, report: Callable[[int, int], None]) -> None:
        self.result = Checked()
        self._connection = connection
        self._report = report
        self._done = 0
        self._total = 0
        # Numbers that other rows may name.
        self._series_ids = np.empty(0, dtype=np.int64)
        self._hashes = np.empty(0, dtype=np.int64)
        self._used = np.empty(0, dtype=np.bool_)
        self._targets: set[int] = set()
        self._layouts: dict[int, int] = {}

    def file(self) -> Iterator[Finding]:
        """SQLite's own check of pages, indexes and constraints."""
        for table in ("series", "targets", "layouts", "journal", "blocks", "rollup_days", "tombstones"):
            self._total += self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for (text,) in self._connection.execute("PRAGMA integrity_check"):
            if text != "ok":
                yield Finding("the file", text, _RESTORE)

    def series(self) -> Iterator[Finding]:
        """Groups that can be read, whose ids and label sets are in order."""
        ids: list[IntArray] = [self._series_ids]
        hashes: list[int] = []
        for first_id, count, packed in self._rows("SELECT first_id, series, labels FROM series ORDER BY first_id"):
            place = f"the group of series from {first_id} on"
            try:
                group = unpack_group(first_id, packed)
            except StoreError as error:
                yield Finding(place, f"it cannot be decoded: {error}", _RESTORE)
                continue
            label_sets = group.labels.label_sets()
            if len(label_sets) != count:
                yield Finding(place, f"it has {len(label_sets)} series instead of {count}", _RESTORE)
            if (np.diff(group.series_ids, prepend=ids[-1][-1:]) <= 0).any():
                yield Finding(place, "its ids do not rise, or begin within the group before", _RESTORE)
            for series_id, labels in zip(group.series_ids.tolist(), label_sets, strict=True):
                if labels != Labels.of(labels):
                    yield Finding(
                        f"series {series_id}", f"its labels are not sorted, or one is empty: {labels}", _RESTORE
                    )
            ids.append(group.series_ids)
            hashes += map(hash, label_sets)
        self._series_ids = np.concatenate(ids)
        order = np.argsort(self._series_ids, kind="stable")
        self._series_ids, self._hashes = self._series_ids[order], np.array(hashes, dtype=np.int64)[order]
        self._used = np.zeros(len(self._series_ids), dtype=np.bool_)
        self.result.series = len(self._series_ids)

    def targets(self) -> Iterator[Finding]:
        """Label sets that can be read."""
        for target_id, text in self._rows("SELECT target_id, labels FROM targets"):
            self._targets.add(target_id)
            if (fault := _fault_of_labels(text)) is not None:
                yield Finding(f"target {target_id}", fault, _RESTORE)

    def layouts(self) -> Iterator[Finding]:
        """Vectors of series that are there."""
        for layout_id, packed in self._rows("SELECT layout_id, series_ids FROM layouts"):
            self.result.layouts += 1
            place = f"layout {layout_id}"
            try:
                ids = unpack_ints(packed)
            except StoreError as error:
                yield Finding(place, f"its series ids cannot be decoded: {error}", _RESTORE)
                continue
            self._layouts[layout_id] = len(ids)
            for fault in self._faults_of_ids(ids):
                yield Finding(place, fault, _RESTORE)

    def journal(self) -> Iterator[Finding]:
        """Rows of known targets and layouts, with as many values and times as those have series."""
        rows = self._rows("SELECT seq, target_id, layout_id, samples, times_ms FROM journal ORDER BY seq")
        for seq, target_id, layout_id, samples, times in rows:
            self.result.journal_rows += 1
            place, remedy = f"journal row {seq}", _give_up("journal", "seq", seq)
            if target_id not in self._targets:
                yield Finding(place, f"there is no target {target_id}", remedy)
            size = self._layouts.get(layout_id)
            if size is None:
                yield Finding(place, f"there is no layout {layout_id}", remedy)
                continue
            try:
                values = unpack_row(samples)
                own_times = size if times is None else len(unpack_ints(times))
            except StoreError as error:
                yield Finding(place, f"its samples cannot be decoded: {error}", remedy)
                continue
            if (len(values), own_times) != (size, size):
                fault = f"{len(values)} values and {own_times} times for a layout of {size} series"
                yield Finding(place, fault, remedy)
            self.result.samples += int((~is_absent(values)).sum())

    def blocks(self) -> Iterator[Finding]:
        """Blocks whose vectors fit together, and whose chunks are all there and can be decoded."""
        rows = self._rows("SELECT block_id, target_id, start_ms, end_ms, last_seq FROM blocks ORDER BY block_id")
        for row in itertools.starmap(BlockRow, rows):
            self.result.blocks += 1
            found = check_block(self._connection, row)
            self.result.samples += found.samples
            faults = [*found.faults, *self._faults_of_ids(found.series_ids)]
            if row.target_id not in self._targets:
                faults.append(f"there is no target {row.target_id}")
            for fault in faults:
                yield Finding(
                    f"block {row.block_id} of target {row.target_id}",
                    fault,
                    _give_up("blocks", "block_id", row.block_id),
                )

    def repeats(self) -> Iterator[Finding]:
        """Label sets that samples lie under two numbers of. A series that was dropped may lie there a while longer."""
        # A hash instead of each label set: a million of those would take the memory of a server.
        ids, hashes = self._series_ids[self._used], self._hashes[self._used]
        order = np.argsort(hashes, kind="stable")
        for first, other in itertools.pairwise(order.tolist()):
            if hashes[first] == hashes[other]:
                labels = self._labels(int(ids[first]))
                if labels == self._labels(int(ids[other])):
                    place = f"series {ids[first]}, {ids[other]}"
                    yield Finding(place, f"the same labels are there more than once: {labels}", _RESTORE)

    def chunks(self) -> Iterator[Finding]:
        """Chunks of blocks that are there, or that wait to be removed."""
        for block_id in blocks_of_chunks(self._connection):
            remedy = f"they only take room: {_sql(f'DELETE FROM chunks WHERE {chunks_of_block(block_id)}')}"
            yield Finding(f"the chunks of block {block_id}", "there is no such block", remedy)

    def rollups(self) -> Iterator[Finding]:
        """Days that are rolled up, whose matrices are all there and can be decoded."""
        rows = self._rows("SELECT day_id, target_id, start_ms FROM rollup_days ORDER BY day_id")
        for day_id, target_id, start_ms in rows:
            days = f"INSERT INTO rollups_unlinked VALUES ({day_id}); DELETE FROM rollup_days WHERE day_id = {day_id}"
            remedy = f"it is made again where its samples are still there: {_sql(days)}"
            place = f"roll-up {day_id} of target {target_id}"
            try:
                ids = rollup_rows.read_whole(self._connection, target_id, start_ms)
            except StoreError as error:
                yield Finding(place, str(error), remedy)
                continue
            for fault in self._faults_of_ids(ids[ids != REMOVED]):
                yield Finding(place, fault, remedy)

    def tombstones(self) -> Iterator[Finding]:
        """Deletes whose selectors and times can be read."""
        rows = self._rows("SELECT tombstone_id, matchers, start_ms, end_ms FROM tombstones ORDER BY tombstone_id")
        for tombstone_id, matchers, start_ms, end_ms in rows:
            place = f"delete {tombstone_id}"
            remedy = f"show its samples again: {_sql(f'DELETE FROM tombstones WHERE tombstone_id = {tombstone_id}')}"
            try:
                decode_selectors(matchers)
            except StoreError as error:
                yield Finding(place, str(error), remedy)
            if start_ms > end_ms:
                yield Finding(place, f"it begins at {start_ms} and ends before, at {end_ms}", remedy)

    def _labels(self, series_id: int) -> Labels:
        query = "SELECT first_id, labels FROM series WHERE first_id <= ? ORDER BY first_id DESC LIMIT 1"
        group = unpack_group(*self._connection.execute(query, (series_id,)).fetchone())
        (labels,) = group.labels.only(group.series_ids == series_id).label_sets()
        return labels

    def _rows(self, query: str) -> Iterator[tuple[Any, ...]]:
        """The rows of a query; each counts as one that was looked at."""
        for row in self._connection.execute(query):
            yield row
            self._done += 1
            if self._done % _ROWS_BETWEEN_REPORTS == 0:
                self._report(self._done, self._total)

    def _faults_of_ids(self, ids: IntArray) -> Iterator[str]:
        """What is wrong with the series of a layout or block; they count as used."""
        places = np.searchsorted(self._series_ids, ids)
        known = self._series_ids.take(places, mode="clip") == ids if len(self._series_ids) else np.zeros(len(ids), bool)
        self._used[places[known]] = True
        unknown = np.unique(ids[~known])
        if len(unknown):
            yield f"there is no series {unknown[0]}" + (f", nor {len(unknown) - 1} more" if len(unknown) > 1 else "")
        if len(np.unique(ids)) < len(ids):
            yield "a series is in it twice"


def _fault_of_labels(text: str) -> str | None:
    """What is wrong with the labels of a series or target."""
    try:
        pairs = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return f"its labels are no JSON: {error}"
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        return f"its labels are no JSON object of strings: {text}"
    if orjson.dumps(dict(Labels.of(pairs))).decode() != text:
        return f"its labels are not sorted, or one is empty: {text}"
    return None


def _give_up(table: str, key: str, value: int) -> str:
    return f"{_RESTORE}, or give it up: {_sql(f'DELETE FROM {table} WHERE {key} = {value}')}"


def _sql(statement: str) -> str:
    return f"stop Fleetwatch and run `sqlite3 {DATABASE_FILE} '{statement}'`"
