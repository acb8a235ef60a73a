"""The parts by time of the large tables: chunks of hypertables on TimescaleDB, partitions on plain PostgreSQL.

The work is done by functions in the database (migrations/versions/v0002_partitions.py) that run with the rights of the
owner of the tables, so that a process needs only those of a writer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import psycopg

Relation = Literal["journal", "block", "rollup", "exemplars", "logs"]

RELATIONS: tuple[Relation, ...] = ("journal", "block", "rollup", "exemplars", "logs")

_AHEAD_MS = 24 * 3600 * 1000
"""How far ahead partitions are made at least, so that a day without maintenance stops nobody."""

_HOUR_MS = 3600 * 1000
_DAY_MS = 24 * _HOUR_MS

LENGTHS_MS: dict[Relation, tuple[int, ...]] = {
    "journal": (_HOUR_MS // 6, _HOUR_MS // 2, _HOUR_MS),
    "block": (6 * _HOUR_MS, 12 * _HOUR_MS, _DAY_MS),
    "rollup": (_DAY_MS, 7 * _DAY_MS, 30 * _DAY_MS),
    "exemplars": (_HOUR_MS, 6 * _HOUR_MS, _DAY_MS),
    "logs": (_HOUR_MS, 6 * _HOUR_MS, _DAY_MS),
}
"""How long a part may be. The longest is what a table begins with."""

_HOT_SHARE = 0.25
"""Of shared_buffers, which the indexes of a part that is being filled may take."""

# Of the newest parts that are filled for an hour at least: the bytes of index for each second.
_RATES = """
SELECT relation, max(bytes / seconds), max(pg_size_bytes(current_setting('shared_buffers'))) FROM (
    SELECT relation, pg_indexes_size(part) AS bytes,
           extract(epoch FROM least(to_time, now()) - from_time)::float8 AS seconds,
           row_number() OVER (PARTITION BY relation ORDER BY from_time DESC) AS newest
    FROM fleetwatch_data.parts WHERE from_time < now() - interval '1 hour'
) parts WHERE newest <= 3 GROUP BY relation
"""

# 4713 BC to 294276 AD.
_FIRST_MS, _LAST_MS = -210_866_803_200_000, 9_224_318_015_999_999

_TIME = "'epoch'::timestamptz + %s * interval '1 millisecond'"
_ENSURE = f"SELECT fleetwatch_data.ensure_parts(%s, {_TIME}, {_TIME})"
_DROP = f"SELECT fleetwatch_data.drop_parts(%s, {_TIME}, %s)"
_REWRITE = "SELECT fleetwatch_data.rewrite_part(%s, %s::regclass)"

_LENGTHS = "SELECT relation, (extract(epoch FROM length) * 1000)::bigint FROM fleetwatch_data.divisions"

_SET_LENGTH = "SELECT fleetwatch_data.set_length(%s, %s * interval '1 millisecond')"

_PARTS = """
SELECT relation, part::text, (extract(epoch FROM from_time) * 1000)::bigint,
       (extract(epoch FROM to_time) * 1000)::bigint, pg_total_relation_size(part)
FROM fleetwatch_data.parts ORDER BY relation, from_time
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a table, for from_ms <= time < to_ms."""

    relation: str
    name: str
    from_ms: int
    to_ms: int
    bytes: int
    """With its indexes and its TOAST table."""


class Partitions:
    """Makes and drops parts, in the caller's transaction. Stateless: any process and thread may, at any time."""

    def ensure(self, connection: psycopg.Connection, relation: Relation, from_ms: int, to_ms: int) -> int:
        """Make the parts that are missing for from_ms <= time <= to_ms, and tell how many.

        Another process that makes parts of the same table waits until the transaction ends. On TimescaleDB there is
        nothing to do.
        """
        return _count(connection, _ENSURE, [relation, _within(from_ms), _within(to_ms)])

    def ensure_ahead(self, connection: psycopg.Connection, now_ms: int) -> int:
        """Make the parts of all tables for what is written now and in the near future."""
        lengths_ms = {relation: int(length_ms) for relation, length_ms in connection.execute(_LENGTHS)}
        return sum(
            self.ensure(connection, relation, now_ms, now_ms + max(_AHEAD_MS, lengths_ms[relation]))
            for relation in RELATIONS
        )

    def drop_before(self, connection: psycopg.Connection, relation: Relation, before_ms: int) -> int:
        """Drop the parts that lie wholly before a time, and tell how many.

        One that others hold for long is left for the next time.
        """
        return _count(connection, _DROP, [relation, _within(before_ms), False])

    def drop_empty(self, connection: psycopg.Connection, relation: Relation, before_ms: int) -> int:
        """The same for those parts alone that have no rows."""
        return _count(connection, _DROP, [relation, _within(before_ms), True])

    def rewrite(self, connection: psycopg.Connection, relation: Literal["block", "rollup"], name: str) -> bool:
        """Write a part anew, which gives back the space of deleted rows; False where others hold it for long."""
        return bool(_count(connection, _REWRITE, [relation, name]))

    def fit(self, connection: psycopg.Connection) -> dict[Relation, int]:
        """Choose how long parts to come are, by what was written lately, and tell those that changed in ms.

        The longest for which the indexes of the part that is being filled stay in memory.
        """
        lengths_ms: dict[str, int] = dict(connection.execute(_LENGTHS).fetchall())
        changed: dict[Relation, int] = {}
        for relation, bytes_per_s, buffers in connection.execute(_RATES).fetchall():
            if relation not in LENGTHS_MS:
                continue
            length_ms = fitting_length_ms(LENGTHS_MS[relation], bytes_per_s, buffers)
            if length_ms != lengths_ms[relation]:
                connection.execute(_SET_LENGTH, [relation, length_ms])
                changed[relation] = length_ms
        return changed

    def parts(self, connection: psycopg.Connection) -> list[Part]:
        """All parts there are, by table and time."""
        return [Part(*row) for row in connection.execute(_PARTS)]


def fitting_length_ms(lengths_ms: Sequence[int], bytes_per_s: float, buffers_bytes: int) -> int:
    """The longest of some lengths whose indexes fit into their share of shared_buffers, or the shortest."""
    fitting = [one for one in lengths_ms if bytes_per_s * one / 1000 <= buffers_bytes * _HOT_SHARE]
    return max(fitting, default=min(lengths_ms))


def _within(time_ms: int) -> int:
    """A time, or the first or last one that PostgreSQL knows."""
    return min(max(time_ms, _FIRST_MS), _LAST_MS)


def _count(connection: psycopg.Connection, query: str, parameters: list[object]) -> int:
    row = connection.execute(query.encode(), parameters).fetchone()
    return int(row[0]) if row else 0
