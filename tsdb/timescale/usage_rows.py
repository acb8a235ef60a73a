"""Read counts in the database, where those of all processes add up."""

from collections.abc import Mapping

from tsdb.timescale import binary
from tsdb.timescale.canonical import clean
from tsdb.timescale.connections import Connection
from tsdb.usage import MetricReads, ReadCounts

_WRITE_EVERY_MS = 60 * 1000

_SINCE = """
INSERT INTO fleetwatch_data.meta (key, value) VALUES ('reads_counted_since_ms', %s) ON CONFLICT (key) DO NOTHING
"""

_COUNTED_SINCE = "SELECT value FROM fleetwatch_data.meta WHERE key = 'reads_counted_since_ms'"

# In the order of the names: two processes that add to the same ones do not wait for each other.
_ADD = """
INSERT INTO fleetwatch_data.metric_reads AS stored (name, reads, last_read_ms)
SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) AS added(name, reads, last_read_ms) ORDER BY name
ON CONFLICT (md5(name)) DO UPDATE SET
    reads = stored.reads + excluded.reads, last_read_ms = greatest(stored.last_read_ms, excluded.last_read_ms)
"""

_READS = "SELECT name, reads, last_read_ms FROM fleetwatch_data.metric_reads"


class UsageRows:
    """Adds the counts of this process to the table. For one thread at a time."""

    def __init__(self, counts: ReadCounts) -> None:
        self._counts = counts
        # How many of this process's reads the table has.
        self._added: dict[str, int] = {}
        self._taken: Mapping[str, MetricReads] = {}
        self._written_ms: int | None = None

    def due(self, now_ms: int) -> bool:
        """Whether it is time to write."""
        if self._written_ms is not None and now_ms < self._written_ms + _WRITE_EVERY_MS:
            return False
        self._written_ms = now_ms
        return True

    def write(self, connection: Connection) -> None:
        """Add what came since the last time; it counts once `committed` was called."""
        self._counts.give_back(self._taken)
        self._taken = self._counts.take_changed()
        connection.execute(_SINCE, (str(self._counts.counted_since_ms),))
        added = [read.reads - self._added.get(name, 0) for name, read in self._taken.items()]
        times = [read.last_read_ms for read in self._taken.values()]
        connection.execute(_ADD, (list(map(clean, self._taken)), added, times))

    def committed(self) -> None:
        """What the last `write` added is durable."""
        self._added |= {name: read.reads for name, read in self._taken.items()}
        self._taken = {}

    def read(self, connection: Connection) -> tuple[int, dict[str, MetricReads]]:
        """Since when reads are counted, and those of all processes, what is not written here included."""
        since = [int(text) for text in binary.fetch(connection, _COUNTED_SINCE).whole(0)]
        rows = binary.fetch(connection, _READS)
        names = [name.decode() for name in rows.whole(0)]
        counts = zip(names, rows.int8(1).tolist(), rows.int8(2).tolist(), strict=True)
        reads = {name: MetricReads(count, last_read_ms) for name, count, last_read_ms in counts}
        for name, own in self._counts.reads().items():
            stored = reads.get(clean(name), MetricReads(0, 0))
            count = stored.reads + own.reads - self._added.get(name, 0)
            reads[name] = MetricReads(count, max(stored.last_read_ms, own.last_read_ms))
        return min(since, default=self._counts.counted_since_ms), reads
