"""Is a database sound? Everything is read once, beside the processes that use it, as it is at one moment.

PostgreSQL finds pages and values that are damaged when it reads them; what rows say of each other is compared here. A
part that cannot be read is named and does not keep the others from being looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from tsdb.embedded.tools.checks import Checked, Finding
from tsdb.timescale.binary import at_least
from tsdb.timescale.migrate import check_schema
from tsdb.timescale.partitions import Part, Partitions
from tsdb.timescale.tools.inspection import inspected, row_of

_RESTORE = "restore a backup (`fleetwatch db restore`)"
_DELETE = "delete those rows: readers do not find them"


@dataclass(frozen=True, slots=True)
class _Look:
    """A query over a table: how many rows, how many values, and for each of `faults` the rows that have it."""

    rows: str
    query: str
    faults: tuple[str, ...]


# Of each fault the first rows, by the number in `key`.
_FIRST = "(array_agg({key} ORDER BY {key}) FILTER (WHERE {fault}))[1:5]"


def _look(rows: str, key: str, source: str, values: str, faults: dict[str, str]) -> _Look:
    found = ", ".join([_FIRST.format(key=key, fault=condition) for condition in faults.values()])
    return _Look(rows, f"SELECT count(*), {values}, {found} FROM {source}", tuple(faults))


_SERIES = _look(
    "series",
    "sid",
    "fleetwatch_data.series LEFT JOIN fleetwatch_data.targets USING (target_id)",
    "0",
    {"name a target that is not there": "target_id IS NOT NULL AND targets.hash IS NULL"},
)
_LAYOUTS = _look(
    "layouts",
    "layout_id",
    "(SELECT layout_id, (SELECT count(*) FROM unnest(sids) AS sid JOIN fleetwatch_data.series USING (sid)) AS known,"
    " cardinality(sids) AS size FROM fleetwatch_data.layouts) AS counted",
    "0",
    {"name series that are not there": "known < size"},
)
_VALUES = "coalesce(sum(cardinality(v)), 0)::bigint"
_JOURNAL = _look(
    "journal rows",
    "seq",
    "fleetwatch_data.journal LEFT JOIN fleetwatch_data.layouts USING (layout_id)"
    " LEFT JOIN fleetwatch_data.targets USING (target_id)"
    " WHERE written_at >= %s::timestamptz AND written_at < %s::timestamptz",
    _VALUES,
    {
        "name a layout that is not there": "sids IS NULL",
        "name a target that is not there": "targets.hash IS NULL",
        "have not a value and a time for each series": "cardinality(v) <> cardinality(sids)"
        " OR cardinality(times) <> cardinality(v)",
    },
)
_BLOCKS = _look(
    "blocks of series",
    "sid",
    "fleetwatch_data.block LEFT JOIN fleetwatch_data.series USING (sid)"
    " WHERE ts >= %s::timestamptz AND ts < %s::timestamptz",
    _VALUES,
    {
        "are of series that are not there": "hash IS NULL",
        "have no values, or not a time for each": "cardinality(v) = 0 OR cardinality(dt) <> cardinality(v)",
    },
)


def check_database(dsn: str, report: Callable[[int, int], None]) -> Checked:
    """Check a database; `report` is told how many parts were looked at, of how many. Raises StoreError."""
    checked = Checked()
    with inspected(dsn) as connection:
        check_schema(connection)
        parts = [part for part in Partitions().parts(connection) if part.relation in ("journal", "block")]
        checked.series, _ = _run(connection, _SERIES, "table series", checked.findings)
        checked.layouts, _ = _run(connection, _LAYOUTS, "table layouts", checked.findings)
        for done, part in enumerate(parts):
            report(done, len(parts))
            _check_part(connection, part, checked)
    return checked


def _check_part(connection: psycopg.Connection, part: Part, checked: Checked) -> None:
    look = _JOURNAL if part.relation == "journal" else _BLOCKS
    rows, values = _run(connection, look, part.name, checked.findings, at_least(part.from_ms), at_least(part.to_ms))
    checked.samples += values
    if part.relation == "journal":
        checked.journal_rows += rows
    else:
        checked.blocks += rows


def _run(
    connection: psycopg.Connection, look: _Look, place: str, findings: list[Finding], *bounds: str
) -> tuple[int, int]:
    """How many rows and values there are; what is wrong is added to the findings."""
    try:
        with connection.transaction():
            rows, values, *faults = row_of(connection, look.query, *bounds)
    except psycopg.Error as error:
        findings.append(Finding(place, f"cannot be read: {str(error).strip()}", _RESTORE))
        return 0, 0
    for fault, first in zip(look.faults, faults, strict=True):
        if first:
            findings.append(Finding(place, f"{look.rows} {fault}, the first are {', '.join(map(str, first))}", _DELETE))
    return rows, values
