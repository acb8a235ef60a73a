"""The catalog from the database: all of it at the start, later what other processes made or dropped.

At the start half a million series come as one table of labels, without an object for each. What comes later is looked
up by sids above those that were known some minutes ago: a transaction that takes long may show a lower number later
than another a higher one.
"""

import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import orjson

from common.labels import Labels
from tsdb.catalog import Catalog, Holding
from tsdb.label_sets import LabelTable
from tsdb.model import IntArray, Server
from tsdb.timescale import binary
from tsdb.timescale.canonical import labels_of
from tsdb.timescale.connections import Connection
from tsdb.timescale.ids import UNKNOWN, Ids

# Series that are fetched at once.
_PAGE = 20_000

# No transaction that makes series takes so long.
_SETTLED_S = 120.0

_NO_TARGET = -1

_SERIES_PAGE = """
SELECT sid, coalesce(target_id, -1), labels::text, raw FROM fleetwatch_data.series
WHERE sid > %s ORDER BY sid LIMIT %s
"""

_SERIES = """
SELECT sid, coalesce(target_id, -1), labels::text, raw FROM fleetwatch_data.series WHERE sid = ANY(%s)
"""

_TARGETS = """
SELECT target_id, labels::text, raw FROM fleetwatch_data.targets
WHERE %(all)s OR target_id > %(after)s OR target_id = ANY(%(some)s) ORDER BY target_id
"""

_SHARING = "SELECT sid, target_id FROM fleetwatch_data.series_sharing"

_SHARINGS = "SELECT count(*) FROM fleetwatch_data.series_sharing"

_SERVERS = "SELECT server_id, name, description, labels::text FROM fleetwatch_data.servers"

_SETTLED_SID = """
SELECT coalesce(max(sid), 0) FROM fleetwatch_data.series WHERE created_at < now() - make_interval(secs => %s)
"""

_NEWS = """
SELECT (SELECT value FROM fleetwatch_data.meta WHERE key = 'series_epoch')::int8,
    ARRAY(SELECT sid FROM fleetwatch_data.series WHERE sid > %s)
"""

_EPOCH = "SELECT value FROM fleetwatch_data.meta WHERE key = 'series_epoch'"

_ALL_SIDS = "SELECT sid FROM fleetwatch_data.series"


class CatalogLoader:
    """Keeps a catalog, and the ids beside it, in step with the database. Thread-safe."""

    def __init__(self, catalog: Catalog, ids: Ids) -> None:
        self._catalog = catalog
        self._ids = ids
        self._lock = threading.RLock()
        self._epoch = 0
        self._sharing = 0
        # (when, the greatest sid then), the oldest of them settled.
        self._greatest: deque[tuple[float, int]] = deque()
        # Local ids of series that are gone from the database and that somebody here may be about to write.
        self._spared: IntArray = np.empty(0, dtype=np.int64)

    def load(self, connection: Connection, *, at_start: bool) -> None:
        """Take in all there is. At the start nobody else makes series."""
        with self._lock:
            self._epoch = _epoch(connection)
            (settled,) = binary.fetch(connection, _SETTLED_SID, (_SETTLED_S,)).int8(0).tolist()
            self._greatest = deque([(time.monotonic(), settled)])
            self.adopt_targets(connection)
            if at_start and self._catalog.index.next_id == 0:
                self._load_series(connection)
            else:
                for rows in _pages(connection):
                    self._adopt(connection, rows)
            self.refresh_rest(connection)

    def refresh(self, connection: Connection) -> bool:
        """Take in what other processes made, and forget what was dropped; whether there was anything."""
        with self._lock:
            _, settled = self._greatest[0]
            news = binary.fetch(connection, _NEWS, (settled,))
            sids = binary.int8_array(news.whole(1)[0])
            (epoch,) = news.int8(0).tolist()
            self._note_greatest(int(sids.max(initial=settled)))
            unknown = sids[self._ids.locals(sids) == UNKNOWN]
            self.adopt_series(connection, unknown)
            changed = bool(len(unknown))
            if epoch != self._epoch or len(self._spared):
                changed |= self._forget_dropped(connection)
                self._epoch = epoch
            return changed

    def adopt_series(self, connection: Connection, sids: IntArray) -> None:
        """Take in series by their sids; those that are gone stay unknown."""
        with self._lock:
            for start in range(0, len(sids), _PAGE):
                self._adopt(connection, binary.fetch(connection, _SERIES, (sids[start : start + _PAGE].tolist(),)))

    def adopt_targets(self, connection: Connection, target_ids: Sequence[int] = (), after: int = 0) -> None:
        """Take in targets: those named, else those with numbers after one."""
        with self._lock:
            parameters = {"all": not target_ids and not after, "after": after, "some": list(target_ids)}
            rows = binary.fetch(connection, _TARGETS, parameters)
            for target_id, labels in zip(rows.int4(0).tolist(), _label_sets(rows, 1), strict=True):
                self._ids.learn_target(self._catalog.target(labels), target_id)

    def refresh_rest(self, connection: Connection) -> None:
        """Take in what need not be known at once: servers, and which series are of several targets."""
        with self._lock:
            self._load_servers(connection)
            (sharing,) = binary.fetch(connection, _SHARINGS).int8(0).tolist()
            if sharing != self._sharing:
                self._load_sharing(connection)
                self._sharing = sharing

    def _load_servers(self, connection: Connection) -> None:
        rows = binary.fetch(connection, _SERVERS)
        columns = zip(rows.whole(0), rows.whole(1), rows.whole(2), rows.whole(3), strict=True)
        servers = [
            Server(uuid.UUID(bytes=server_id), name.decode(), description.decode(), orjson.loads(labels))
            for server_id, name, description, labels in columns
        ]
        for server in servers:
            self._catalog.put_server(server)
        self._catalog.servers_stored(servers)

    def _load_series(self, connection: Connection) -> None:
        """Into an empty index."""
        # All of them first: an index that is filled by half cannot be filled further.
        pages = [(rows.int8(0), rows.int4(1), _table(rows)) for rows in _pages(connection)]
        if not pages:
            return
        all_sids = np.concatenate([sids for sids, _, _ in pages])
        target_ids = np.concatenate([targets for _, targets, _ in pages])
        ends = np.cumsum([len(sids) for sids, _, _ in pages])
        self._catalog.index.load(
            (np.arange(end - len(sids), end), table) for end, (sids, _, table) in zip(ends, pages, strict=True)
        )
        local = np.arange(len(all_sids))
        self._ids.learn_series(local, all_sids)
        homes = self._local_targets(connection, target_ids)
        held = homes != _NO_TARGET
        self._catalog.load_holding(Holding(local[held], homes[held].astype(np.int32), ()))
        self._note_greatest(int(all_sids.max(initial=0)))

    def _adopt(self, connection: Connection, rows: binary.Rows) -> None:
        """Take in series one by one."""
        sids = rows.int8(0)
        local = self._catalog.index.ids(_label_sets(rows, 2))
        self._ids.learn_series(local, sids)
        by_target: defaultdict[int, list[int]] = defaultdict(list)
        for home, number in zip(self._local_targets(connection, rows.int4(1)).tolist(), local.tolist(), strict=True):
            if home != _NO_TARGET:
                by_target[home].append(number)
        for home, numbers in by_target.items():
            self._catalog.hold(home, self._catalog.layout(np.array(numbers)))
        self._note_greatest(int(sids.max(initial=0)))

    def _load_sharing(self, connection: Connection) -> None:
        rows = binary.fetch(connection, _SHARING)
        local = self._ids.locals(rows.int8(0))
        targets = self._local_targets(connection, rows.int4(1))
        known = (local != UNKNOWN) & (targets != _NO_TARGET)
        pairs = list(zip(local[known].tolist(), targets[known].tolist(), strict=True))
        self._catalog.load_holding(Holding(local[:0], targets[:0].astype(np.int32), pairs))

    def _local_targets(self, connection: Connection, target_ids: IntArray) -> IntArray:
        """Local numbers of targets, _NO_TARGET for none."""
        distinct, places = np.unique(target_ids, return_inverse=True)
        missing = [number for number in distinct.tolist() if number >= 0 and self._ids.local_target(number) is None]
        if missing:
            self.adopt_targets(connection, missing)
        homes = [self._ids.local_target(number) for number in distinct.tolist()]
        return np.array([_NO_TARGET if home is None else home for home in homes], dtype=np.int64)[places]

    def _note_greatest(self, sid: int) -> None:
        now = time.monotonic()
        greatest = self._greatest
        if sid > greatest[-1][1]:
            greatest.append((now, sid))
        while len(greatest) > 1 and greatest[1][0] < now - _SETTLED_S:
            greatest.popleft()

    def _forget_dropped(self, connection: Connection) -> bool:
        """Forget the series that are gone; those that somebody may be about to write are tried again later."""
        known = self._ids.known_sids()
        gone = np.setdiff1d(known, binary.fetch(connection, _ALL_SIDS).int8(0))
        local = np.union1d(self._ids.locals(gone), self._spared)
        self._ids.forget_series(gone)
        # Those that were made again meanwhile are not gone.
        local = local[self._ids.sids(local) == UNKNOWN]
        dropped = self._catalog.drop_series(local)
        self._catalog.index.purge()
        self._spared = np.setdiff1d(local, dropped)
        return bool(len(dropped))


def _epoch(connection: Connection) -> int:
    row = connection.execute(_EPOCH.encode()).fetchone()
    return int(str(row[0])) if row else 0


def _pages(connection: Connection) -> Iterator[binary.Rows]:
    """All series, by their sids."""
    after = 0
    while len(rows := binary.fetch(connection, _SERIES_PAGE, (after, _PAGE))):
        yield rows
        after = int(rows.int8(0)[-1])


def _label_sets(rows: binary.Rows, column: int) -> Iterable[Labels]:
    """Of a column with JSON, and one behind it that has what JSON cannot say."""
    return map(_labels, rows.whole(column), rows.raw(column + 1))


def _labels(text: bytes, raw: bytes | None) -> Labels:
    return Labels(sorted(orjson.loads(text).items())) if raw is None else labels_of(raw)


def _table(rows: binary.Rows) -> LabelTable:
    """The labels of a page of series, without an object for each of them."""
    numbers: dict[tuple[str, str], int] = {}
    flat: list[int] = []
    ends = np.empty(len(rows), dtype=np.int64)
    for place, (text, raw) in enumerate(zip(rows.whole(2), rows.raw(3), strict=True)):
        pairs = sorted(orjson.loads(text).items()) if raw is None else labels_of(raw)
        flat += [numbers.setdefault(pair, len(numbers)) for pair in pairs]
        ends[place] = len(flat)
    return LabelTable(list(numbers), np.array(flat, dtype=np.int32), ends)
