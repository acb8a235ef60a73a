"""Numbers in the database for what is new in a write: targets, series, layouts, and which target has which series.

Works in the transaction that writes, under the shared lock on series: what it finds stays until the commit. What was
found before is in Ids and is taken from there. When series were dropped, all layouts are forgotten, and each sid of a
layout is looked up once more before the layout is used again.

Several processes make the same rows at once. Each transaction goes through the tables in the same order, and through
each table in the order of its key, so that nobody waits for somebody who waits for him.
"""

import hashlib
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import orjson

from common.labels import Labels
from tsdb.catalog import Catalog, server_name
from tsdb.errors import StoreError
from tsdb.model import IntArray, Layout, server_id_of
from tsdb.timescale import binary
from tsdb.timescale.canonical import LabelRow, label_row
from tsdb.timescale.connections import Connection
from tsdb.timescale.ids import UNKNOWN, Ids
from tsdb.timescale.writes import Write

# A statement takes as many rows, or about as many bytes.
_MOST_ROWS = 2000
_MOST_BYTES = 8 << 20
# What was in somebody's way may be gone again; not for ever.
_ATTEMPTS = 5
_NO_TARGET = -1

# Arrays of bytes and text go as binary: as text they take ten times as long.
_FIND_TARGETS = "SELECT target_id::int8, hash, labels::text, raw FROM fleetwatch_data.targets WHERE hash = ANY(%b)"
_MAKE_TARGETS = """
INSERT INTO fleetwatch_data.targets (hash, labels, raw, server_id)
SELECT hash, labels::jsonb, raw, server_id
FROM unnest(%b::bytea[], %b::text[], %s::bytea[], %s::uuid[]) AS new(hash, labels, raw, server_id)
ON CONFLICT (hash) DO NOTHING RETURNING target_id::int8, hash
"""

_FIND_SERIES = "SELECT sid, hash, labels::text, raw FROM fleetwatch_data.series WHERE hash = ANY(%b)"
_MAKE_SERIES = """
INSERT INTO fleetwatch_data.series (hash, labels, raw, target_id)
SELECT hash, labels::jsonb, raw, nullif(target_id, -1)
FROM unnest(%b::bytea[], %b::text[], %s::bytea[], %b::int[]) AS new(hash, labels, raw, target_id)
ON CONFLICT (hash) DO NOTHING RETURNING sid, hash
"""
_STILL_THERE = "SELECT sid FROM fleetwatch_data.series WHERE sid = ANY(%s::bigint[])"

_FIND_LAYOUTS = "SELECT layout_id::int8, hash, sids FROM fleetwatch_data.layouts WHERE hash = ANY(%b)"
_MAKE_LAYOUTS = """
INSERT INTO fleetwatch_data.layouts (hash, sids)
SELECT hash, sids::bigint[] FROM unnest(%b::bytea[], %b::text[]) AS new(hash, sids)
ON CONFLICT (hash) DO NOTHING RETURNING layout_id::int8, hash
"""

# Pairs of a series and a target that has it. The first target is in the row of the series, others are beside it.
_PAIRS = "unnest(%(sids)s::bigint[], %(target_ids)s::int[]) AS new(sid, target_id)"
_NOT_AT_HOME = f"""
SELECT new.sid, new.target_id FROM {_PAIRS} JOIN fleetwatch_data.series USING (sid)
WHERE series.target_id IS DISTINCT FROM new.target_id
"""
_GIVE_HOME = f"""
WITH homeless AS MATERIALIZED (
    SELECT sid FROM fleetwatch_data.series
    WHERE sid = ANY(%(sids)s::bigint[]) AND target_id IS NULL ORDER BY sid FOR UPDATE
)
UPDATE fleetwatch_data.series SET target_id = new.target_id FROM {_PAIRS} JOIN homeless USING (sid)
WHERE series.sid = new.sid
"""
_SHARE = f"""
INSERT INTO fleetwatch_data.series_sharing (sid, target_id)
SELECT new.sid, new.target_id FROM {_PAIRS} JOIN fleetwatch_data.series USING (sid)
WHERE series.target_id <> new.target_id ORDER BY 1, 2
ON CONFLICT DO NOTHING
"""

Pair = tuple[Layout, int]
"""A layout, and the local number of a target that has its series."""


@dataclass(slots=True, eq=False)
class Resolved:
    """The database's numbers for a write, to be learned once its transaction is committed."""

    target_ids: dict[int, int] = field(default_factory=dict)
    layout_ids: dict[Layout, int] = field(default_factory=dict)
    held: list[Pair] = field(default_factory=list)
    # Of series that were not known, rising, and their sids.
    local: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    sids: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))


class Resolver:
    """Finds or makes the rows that a write names. For one thread."""

    def __init__(self, catalog: Catalog, ids: Ids) -> None:
        self._catalog = catalog
        self._ids = ids
        # The targets that are known, in the database, to hold all series of a layout.
        self._held: weakref.WeakKeyDictionary[Layout, set[int]] = weakref.WeakKeyDictionary()

    def new_series(self, write: Write) -> int:
        """How many series may have to be made for a write, at most."""
        layouts = {batch.layout for batch in write.batches}
        return sum([len(layout) for layout in layouts if self._ids.layout_id(layout) is None])

    def resolve(self, connection: Connection, write: Write) -> Resolved:
        """The numbers of all targets and layouts of the batches, and of the exemplars' series.

        Raises psycopg.Error, and StoreError where the database has other labels under a hash.
        """
        resolved = Resolved()
        self._resolve_targets(connection, write, resolved)
        targets = {batch.layout: resolved.target_ids[batch.target_id] for batch in write.batches}
        new = []
        for layout in targets:
            layout_id = self._ids.layout_id(layout)
            if layout_id is None:
                new.append(layout)
            else:
                resolved.layout_ids[layout] = layout_id
        self._resolve_series(connection, write, {layout: targets[layout] for layout in new}, resolved)
        if new:
            self._resolve_layouts(connection, new, resolved)
        self._store_pairs(connection, write, resolved)
        return resolved

    def learn(self, resolved: Resolved) -> None:
        """Keep what a committed transaction found for later ones."""
        self._ids.learn_series(resolved.local, resolved.sids)
        for local, target_id in resolved.target_ids.items():
            self._ids.learn_target(local, target_id)
        for layout, layout_id in resolved.layout_ids.items():
            self._ids.learn_layout(layout, layout_id)
        for layout, target in resolved.held:
            self._held.setdefault(layout, set()).add(target)

    def forget_layouts(self) -> None:
        """Look all layouts up again, with their series: some were dropped."""
        self._ids.forget_layouts()
        self._held.clear()

    def forget_all(self) -> None:
        """Look everything up again: the database is not the one that it was."""
        self._ids.forget_all()
        self._held.clear()

    def sids_of(self, resolved: Resolved, local: IntArray) -> IntArray:
        """The sids of series that were resolved, now or before."""
        sids = self._ids.sids(local)
        if len(resolved.local):
            places = np.minimum(np.searchsorted(resolved.local, local), len(resolved.local) - 1)
            sids = np.where(resolved.local[places] == local, resolved.sids[places], sids)
        return sids

    def _resolve_targets(self, connection: Connection, write: Write, resolved: Resolved) -> None:
        new = []
        for local in {batch.target_id for batch in write.batches}:
            target_id = self._ids.target_id(local)
            if target_id is None:
                new.append(local)
            else:
                resolved.target_ids[local] = target_id
        if not new:
            return
        labels = [self._catalog.target_labels(local) for local in new]
        servers = {server.name: server.server_id for server in self._catalog.servers()}
        names = [server_name(one.get("instance")) for one in labels]
        server_ids = [servers.get(name, server_id_of(name)) if name else None for name in names]
        found = _label_numbers(connection, _FIND_TARGETS, _MAKE_TARGETS, labels, server_ids)
        resolved.target_ids.update(zip(new, found, strict=True))

    def _resolve_series(
        self, connection: Connection, write: Write, targets: Mapping[Layout, int], resolved: Resolved
    ) -> None:
        wanted = [layout.series_ids for layout in targets]
        wanted.append(np.array([exemplar.series_id for exemplar in write.exemplars], dtype=np.int64))
        local = np.unique(np.concatenate(wanted))
        if not len(local):
            return
        sids = self._still_there(connection, self._ids.sids(local))
        unknown = np.flatnonzero(sids == UNKNOWN)
        if len(unknown):
            homes = np.full(len(local), _NO_TARGET)
            for layout, target_id in targets.items():
                homes[np.searchsorted(local, layout.series_ids)] = target_id
            labels = self._catalog.index.labels(local[unknown])
            sids[unknown] = _label_numbers(connection, _FIND_SERIES, _MAKE_SERIES, labels, homes[unknown].tolist())
        resolved.local, resolved.sids = local, sids

    def _still_there(self, connection: Connection, sids: IntArray) -> IntArray:
        """The sids, UNKNOWN where the series was dropped."""
        known = sids[sids != UNKNOWN]
        if not len(known):
            return sids
        there = binary.fetch(connection, _STILL_THERE, (_array(known.tolist()),)).int8(0)
        return np.where(np.isin(sids, there), sids, UNKNOWN)

    def _resolve_layouts(self, connection: Connection, layouts: Sequence[Layout], resolved: Resolved) -> None:
        vectors = {layout: self.sids_of(resolved, layout.series_ids) for layout in layouts}
        hashes = {layout: hashlib.sha256(sids.astype("<i8").tobytes()).digest() for layout, sids in vectors.items()}
        by_hash = {hashes[layout]: vectors[layout] for layout in layouts}

        def find(some: Sequence[bytes]) -> dict[bytes, int]:
            rows = binary.fetch(connection, _FIND_LAYOUTS, (list(some),))
            for key, sids in zip(rows.whole(1), rows.whole(2), strict=True):
                if not np.array_equal(binary.int8_array(sids), by_hash[key]):
                    raise StoreError(f"fleetwatch_data.layouts has other sids under the hash {key.hex()}")
            return dict(zip(rows.whole(1), rows.int8(0).tolist(), strict=True))

        def make(some: Sequence[bytes]) -> dict[bytes, int]:
            return _made(connection, _MAKE_LAYOUTS, some, [_array(by_hash[key].tolist()) for key in some])

        numbers = _numbers({key: 8 * len(sids) for key, sids in by_hash.items()}, find, make)
        resolved.layout_ids.update({layout: numbers[hashes[layout]] for layout in layouts})

    def _store_pairs(self, connection: Connection, write: Write, resolved: Resolved) -> None:
        pairs = {(batch.layout, batch.target_id) for batch in write.batches}
        resolved.held = [pair for pair in pairs if pair[1] not in self._held.get(pair[0], ())]
        if not resolved.held:
            return
        sids = [self.sids_of(resolved, layout.series_ids) for layout, _ in resolved.held]
        target_ids = [resolved.target_ids[target] for _, target in resolved.held]
        parameters = {
            "sids": _array(np.concatenate(sids).tolist()),
            "target_ids": _array(np.repeat(target_ids, list(map(len, sids))).tolist()),
        }
        elsewhere = connection.execute(_NOT_AT_HOME.encode(), parameters).fetchall()
        if elsewhere:
            parameters = dict(zip(("sids", "target_ids"), map(_array, zip(*elsewhere, strict=True)), strict=True))
            connection.execute(_GIVE_HOME.encode(), parameters)
            connection.execute(_SHARE.encode(), parameters)


def _label_numbers(
    connection: Connection, find_rows: str, make_rows: str, label_sets: Sequence[Labels], extra: Sequence[object]
) -> list[int]:
    """The numbers of label sets in a table of theirs; `extra` is the last column of those that are made."""
    rows = list(map(label_row, label_sets))
    by_hash = {row.hash: (row, more) for row, more in zip(rows, extra, strict=True)}

    def find(some: Sequence[bytes]) -> dict[bytes, int]:
        found = binary.fetch(connection, find_rows, (list(some),))
        for key, text, raw in zip(found.whole(1), found.whole(2), found.raw(3), strict=True):
            _check_same(by_hash[key][0], text, raw)
        return dict(zip(found.whole(1), found.int8(0).tolist(), strict=True))

    def make(some: Sequence[bytes]) -> dict[bytes, int]:
        chosen = [by_hash[key] for key in some]
        texts, raws = [row.json for row, _ in chosen], [row.raw for row, _ in chosen]
        return _made(connection, make_rows, some, texts, raws, [more for _, more in chosen])

    numbers = _numbers({row.hash: len(row.json) for row in rows}, find, make)
    return [numbers[row.hash] for row in rows]


def _check_same(row: LabelRow, text: bytes, raw: bytes | None) -> None:
    if raw != row.raw or orjson.loads(text) != orjson.loads(row.json):
        raise StoreError(
            f"the database has other labels under the hash {row.hash.hex()}: {text.decode()}, not {row.json}"
        )


def _made(
    connection: Connection, make_rows: str, hashes: Sequence[bytes], *columns: Sequence[object]
) -> dict[bytes, int]:
    made = binary.fetch(connection, make_rows, (list(hashes), *columns))
    return dict(zip(made.whole(1), made.int8(0).tolist(), strict=True))


def _array(numbers: Iterable[object]) -> str:
    """An array of integers as text, which is made in half the time of psycopg's."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _numbers(
    sizes: Mapping[bytes, int],
    find: Callable[[Sequence[bytes]], dict[bytes, int]],
    make: Callable[[Sequence[bytes]], dict[bytes, int]],
) -> dict[bytes, int]:
    """The numbers of rows by their hashes; `sizes` has about how many bytes each takes.

    A row that is not there is made, unless somebody else makes it first: then it is there once he has committed.
    """
    numbers: dict[bytes, int] = {}
    missing = sorted(sizes)
    for _ in range(_ATTEMPTS):
        for some in _portions(missing, sizes):
            numbers |= find(some)
        missing = [key for key in missing if key not in numbers]
        for some in _portions(missing, sizes):
            numbers |= make(some)
        missing = [key for key in missing if key not in numbers]
        if not missing:
            return numbers
    raise StoreError(f"{len(missing)} rows are neither there nor can they be made: others make and remove them")


def _portions(hashes: Iterable[bytes], sizes: Mapping[bytes, int]) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    total = 0
    for key in hashes:
        some.append(key)
        total += sizes[key]
        if len(some) == _MOST_ROWS or total > _MOST_BYTES:
            yield some
            some, total = [], 0
    if some:
        yield some
