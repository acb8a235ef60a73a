"""`fleetwatch db status` of an embedded store; fleetwatch.db.timescale_status has that of a database."""

import dataclasses
import json
from pathlib import Path

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from fleetwatch.db.arguments import shown_time
from fleetwatch.db.places import Place
from tsdb.embedded.tools.status import Status, read_status


def run_status(place: Place, as_json: bool) -> None:
    """Look at an embedded store and print. Raises StoreOpenError, StoreError."""
    directory = Path(place.spec)
    status = read_status(directory)
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(status), "bytes_per_sample": status.bytes_per_sample}))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _rows(directory, status).items():
        table.add_row(name, value)
    Console(soft_wrap=True, markup=False, highlight=False).print(table)


def _rows(directory: Path, status: Status) -> dict[str, str]:
    levels = ", ".join(f"{count:,} of level {level}" for level, count in sorted(status.blocks_by_level.items()))
    rows = {
        "directory": str(directory.absolute()),
        "schema version": str(status.schema_version),
        "in use by": "nobody" if status.locked_by is None else f"process {status.locked_by}",
        "series": f"{status.series:,}",
        "targets": f"{status.targets:,}",
        "blocks": levels or "none",
        "journal rows": f"{status.journal_rows:,}",
        "samples": f"{status.samples:,}",
    }
    if status.first_ms is not None and status.last_ms is not None:
        rows["time range"] = f"{shown_time(status.first_ms)} to {shown_time(status.last_ms)} UTC"
    rows["size on disk"] = f"{decimal(status.bytes_on_disk)}, of it free {decimal(status.bytes_free)}"
    if status.bytes_per_sample is not None:
        rows["bytes per sample"] = f"{status.bytes_per_sample:.2f}"
    return rows
