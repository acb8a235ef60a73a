"""What is to be written: as it was appended, and together as one transaction takes it."""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from common.labels import Labels
from tsdb.errors import WriteRefusedError
from tsdb.model import Batch, LogEntry, SeriesExemplar, Server
from tsdb.timescale.canonical import clean, clean_map

# What PostgreSQL's timestamps reach: from 4713 BC to 294276.
FIRST_MS = -210_866_803_200_000
LAST_MS = 9_224_318_015_999_999

# Nanoseconds in 64 bits reach to the year 2262.
_MOST_NS = (1 << 63) - 1_000_000
# Years 1 to 9999: what stands in a calendar, which parts of tables by day go by.
_FIRST_DATE_MS, _LAST_DATE_MS = -62_135_596_800_000, 253_402_300_799_999

# Python's objects and a share of the statements, roughly.
_OVERHEAD_BYTES = 300


@dataclass(frozen=True, slots=True)
class WriteId:
    """Which write it is: the run of a process, and its numbers from 1 on."""

    writer: uuid.UUID
    number: int


@dataclass(slots=True, eq=False)
class Write:
    """Batches, log entries, exemplars and servers, in the order in which they came.

    `made_servers` were made for targets: those that are there already stay as they are.
    """

    batches: list[Batch] = field(default_factory=list)
    logs: list[LogEntry] = field(default_factory=list)
    exemplars: list[SeriesExemplar] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    made_servers: list[Server] = field(default_factory=list)

    @classmethod
    def join(cls, writes: Iterable[Self]) -> Self:
        """Several as one."""
        joined = cls()
        for write in writes:
            joined.batches += write.batches
            joined.logs += write.logs
            joined.exemplars += write.exemplars
            joined.servers += write.servers
            joined.made_servers += write.made_servers
        return joined

    def parts(self) -> Iterator["Write"]:
        """Each thing by itself."""
        for batch in self.batches:
            yield Write(batches=[batch])
        for entry in self.logs:
            yield Write(logs=[entry])
        for exemplar in self.exemplars:
            yield Write(exemplars=[exemplar])
        for server in self.servers:
            yield Write(servers=[server])
        for server in self.made_servers:
            yield Write(made_servers=[server])

    @property
    def bytes(self) -> int:
        """What it takes in memory, roughly."""
        rows = len(self.batches) + len(self.logs) + len(self.exemplars) + len(self.servers) + len(self.made_servers)
        size = _OVERHEAD_BYTES * rows
        size += sum([batch.values.nbytes * (1 if batch.times_ms is None else 2) for batch in self.batches])
        return size + sum([len(entry.message) for entry in self.logs])


def of_batch(batch: Batch) -> Write:
    """A write of one batch. Raises WriteRefusedError for times that the database cannot have."""
    _check_time(batch.time_ms)
    if batch.times_ms is not None and len(batch.times_ms):
        _check_time(int(batch.times_ms.min()))
        _check_time(int(batch.times_ms.max()))
    return Write(batches=[batch])


def of_logs(entries: Sequence[LogEntry]) -> Write:
    """A write of log entries, as the database can have them. Raises WriteRefusedError for their times."""
    for entry in entries:
        _check_time(entry.time_ns // 1_000_000, -_MOST_NS // 1_000_000, _MOST_NS // 1_000_000)
    return Write(logs=[_clean_entry(entry) for entry in entries])


def of_exemplars(exemplars: Sequence[SeriesExemplar]) -> Write:
    """A write of exemplars, as the database can have them. Raises WriteRefusedError for their times."""
    for one in exemplars:
        _check_time(one.time_ms, _FIRST_DATE_MS, _LAST_DATE_MS)
    return Write(
        exemplars=[
            SeriesExemplar(one.series_id, one.time_ms, one.value, Labels.of(clean_map(dict(one.labels))), one.own_time)
            for one in exemplars
        ]
    )


def of_servers(servers: Sequence[Server], replace: bool) -> Write:
    """A write of servers, as the database can have them; without `replace` those are left out that are there."""
    cleaned = [Server(one.server_id, clean(one.name), clean(one.description), clean_map(one.labels)) for one in servers]
    return Write(servers=cleaned) if replace else Write(made_servers=cleaned)


def _clean_entry(entry: LogEntry) -> LogEntry:
    return LogEntry(
        entry.entry_id,
        entry.time_ns,
        entry.server_id,
        clean(entry.log_type),
        clean(entry.source),
        clean(entry.message),
        clean_map(entry.fields),
    )


def _check_time(time_ms: int, first_ms: int = FIRST_MS, last_ms: int = LAST_MS) -> None:
    if not first_ms <= time_ms <= last_ms:
        raise WriteRefusedError(
            f"the database cannot have the time {time_ms} ms here: it takes {first_ms} to {last_ms}"
        )
