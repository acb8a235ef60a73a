"""`fleetwatch db status` of a database."""

import dataclasses
import json

import typer
from rich.filesize import decimal

from common.durations import format_duration
from fleetwatch.db.arguments import shown_time
from fleetwatch.db.places import Place
from tsdb.timescale.tools.inspection import inspected
from tsdb.timescale.tools.spools import SpoolFound, find_spools
from tsdb.timescale.tools.status import Status, TableSize, Writer, read_status


def run_timescale_status(place: Place, as_json: bool) -> None:
    """Look and print. Raises StoreOpenError, StoreError."""
    with inspected(place.spec) as connection:
        status = read_status(connection)
    spools = find_spools(place.spools)
    if as_json:
        found = dataclasses.asdict(status) | {"unsealed_s": status.unsealed_s}
        typer.echo(json.dumps(found | {"spools": [dataclasses.asdict(spool) for spool in spools]}, default=str))
        return
    rows = _rows(place, status, spools)
    width = max([len(name) for name, _ in rows])
    for name, value in rows:
        typer.echo(f"{name:{width}}  {value}")


def _rows(place: Place, status: Status, spools: list[SpoolFound]) -> list[tuple[str, str]]:
    per_sample = "" if status.bytes_per_sample is None else f", {status.bytes_per_sample:.2f} bytes each"
    return [
        ("database", place.shown),
        ("server", status.server),
        *[("lacks", sentence) for sentence in status.missing],
        ("schema version", status.schema_version),
        ("user", status.user),
        ("clock", f"{status.clock_ahead_s:+.2f} s against this host's"),
        ("size on disk", decimal(status.bytes)),
        ("series", f"{status.series:,}"),
        ("targets", f"{status.targets:,}"),
        ("layouts", f"{status.layouts:,}"),
        ("samples in blocks", f"{status.samples:,}{per_sample}"),
        ("waiting to be sealed", _waiting(status)),
        *[(f"table {table.name}", _table(table)) for table in status.tables],
        *[(f"writer {writer.writer_id}", _writer(writer, status.now_ms)) for writer in status.writers],
        *[(f"spool {spool.directory}", _spool(spool)) for spool in spools],
    ]


def _waiting(status: Status) -> str:
    if status.unsealed_s is None:
        return "nothing"
    return f"{status.journal_rows:,} scrapes, the oldest for {_ago(status.unsealed_s)}"


def _table(table: TableSize) -> str:
    if table.from_ms is None or table.to_ms is None:
        return "no parts"
    parts = "1 part" if table.parts == 1 else f"{table.parts:,} parts"
    return f"{decimal(table.bytes)} in {parts}, {shown_time(table.from_ms)} to {shown_time(table.to_ms)} UTC"


def _writer(writer: Writer, now_ms: int) -> str:
    return f"{writer.writes:,} writes, the last {_ago((now_ms - writer.seen_ms) / 1000)} ago"


def _spool(spool: SpoolFound) -> str:
    user = "nobody" if spool.locked_by is None else f"process {spool.locked_by}"
    return f"{spool.records:,} writes in {decimal(spool.bytes)}, in use by {user}"


def _ago(seconds: float) -> str:
    return format_duration(max(0, round(seconds)) * 1000)
