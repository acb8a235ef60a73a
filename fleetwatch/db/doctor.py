"""`fleetwatch db doctor`: all that is wrong around a database, and the command that mends it."""

import dataclasses
import json
import time
from collections.abc import Iterator

import typer

from fleetwatch.db.places import Place
from fleetwatch.opening import database_dsn
from tsdb.dsn import shown_dsn
from tsdb.errors import StoreError, StoreOpenError
from tsdb.timescale.editions import detect
from tsdb.timescale.migrate import SchemaOutdatedError
from tsdb.timescale.tools.doctor import examine, examine_replica, examine_spools
from tsdb.timescale.tools.findings import Finding
from tsdb.timescale.tools.inspection import inspected
from tsdb.timescale.tools.spools import find_spools
from tsdb.timescale.tools.status import read_status


def run_doctor(place: Place, as_json: bool) -> bool:
    """Look and print; whether all is well. Raises PlaceError for an embedded store."""
    place.dsn("`fleetwatch db check` looks whether that one is sound")
    findings = list(_findings(place))
    if as_json:
        typer.echo(json.dumps({"findings": [dataclasses.asdict(finding) for finding in findings]}))
        return not findings
    for finding in findings:
        typer.echo(f"{finding.fault}\n    {finding.remedy}")
    count = len(findings)
    typer.echo("all is well" if not count else "1 finding" if count == 1 else f"{count} findings")
    return not findings


def _findings(place: Place) -> Iterator[Finding]:
    """Where the database cannot be looked at, that is the first finding: this host's spools can be."""
    try:
        with inspected(place.spec) as connection:
            yield from examine(connection, read_status(connection), detect(connection), place.shown)
    except SchemaOutdatedError as error:
        yield Finding(str(error), f"fleetwatch db migrate --storage.path '{place.shown}'")
    except StoreOpenError as error:
        yield Finding(str(error), f"psql '{place.shown}' -c 'SELECT 1'")
    for dsn in place.storage.timescaledb.read_replicas:
        try:
            with inspected(database_dsn(place.storage, place.base, dsn)) as connection:
                yield from examine_replica(connection, shown_dsn(dsn))
        except StoreError as error:
            yield Finding(str(error), f"psql '{shown_dsn(dsn)}' -c 'SELECT 1'")
    yield from examine_spools(find_spools(place.spools), time.time_ns() // 1_000_000)
