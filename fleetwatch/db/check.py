"""`fleetwatch db check`."""

import dataclasses
import json
from pathlib import Path

import typer

from fleetwatch.db.places import Place
from fleetwatch.db.progress import count_bar
from tsdb.embedded.tools.checks import check
from tsdb.timescale.tools.checks import check_database


def run_check(place: Place, as_json: bool) -> bool:
    """Check and print; whether all is sound. Raises StoreOpenError, StoreError."""
    if place.is_database:
        with count_bar("Checking parts") as report:
            checked = check_database(place.spec, report)
    else:
        with count_bar("Checking rows") as report:
            checked = check(Path(place.spec), report)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(checked)))
        return not checked.findings
    typer.echo(
        f"checked {checked.series:,} series, {checked.layouts:,} layouts, {checked.journal_rows:,} journal rows, "
        f"{checked.blocks:,} blocks, {checked.samples:,} samples"
    )
    for finding in checked.findings:
        typer.echo(f"{finding.place}: {finding.fault}\n    {finding.remedy}")
    count = len(checked.findings)
    typer.echo("all is sound" if not count else "1 finding" if count == 1 else f"{count} findings")
    return not checked.findings
