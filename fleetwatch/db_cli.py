"""The flags of `fleetwatch db`: look at a store, check it, copy it, and move samples in and out.

A store is a directory, or a database by its DSN; a command that works on both has the same flags for both.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.logs import set_up_logging

if TYPE_CHECKING:
    from fleetwatch.db.places import Place

db_app = typer.Typer(no_args_is_help=True, help="Look at a store, check it, copy it, move samples in and out.")

StoragePath = Annotated[
    str | None,
    typer.Option("--storage.path", metavar="PATH", help="Directory or DSN of the store; ./data without a config file."),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config.file", metavar="FILE", help="A config file that says where the store is.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
StartTime = Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339 or seconds; all by default.")]
EndTime = Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339 or seconds; all by default.")]


@db_app.command()
def status(storage_path: StoragePath = None, config_file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say what is in the store and how large it is, beside a running process too."""
    from fleetwatch.db.status import run_status
    from fleetwatch.db.timescale_status import run_timescale_status

    place = _place(storage_path, config_file)
    (run_timescale_status if place.is_database else run_status)(place, as_json)


@db_app.command()
def migrate(storage_path: StoragePath = None, config_file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Make the tables of a database, or bring them up to date, as a user who may change them."""
    from fleetwatch.db.migrate import run_migrate

    dsn = _place(storage_path, config_file).dsn("an embedded store is brought up to date when it is opened")
    set_up_logging("warn")
    _print(run_migrate(dsn), as_json)


@db_app.command()
def view(
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="The name of a metric.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the view; that of the metric by default.")
    ] = None,
    storage_path: StoragePath = None,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a view in schema `fleetwatch` of a metric's samples, a column for each label, for SQL."""
    from fleetwatch.db.view import run_view

    dsn = _place(storage_path, config_file).dsn("`fleetwatch db export` writes its samples to a file")
    _print(run_view(dsn, metric, name), as_json)


@db_app.command()
def doctor(storage_path: StoragePath = None, config_file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say what is wrong with a database, its settings and this host's spool, and what mends it; exit with 1 then."""
    from fleetwatch.db.doctor import run_doctor

    if not run_doctor(_place(storage_path, config_file), as_json):
        raise typer.Exit(1)


@db_app.command()
def check(storage_path: StoragePath = None, config_file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Read everything and name what is damaged, beside a running process too; exit with 1 where something is."""
    from fleetwatch.db.check import run_check

    if not run_check(_place(storage_path, config_file), as_json):
        raise typer.Exit(1)


@db_app.command()
def usage(
    storage_path: StoragePath = None,
    config_file: ConfigFile = None,
    unused_for: Annotated[
        str, typer.Option(metavar="DURATION", help="How long nobody may have read a metric to call it unused.")
    ] = "30d",
    limit: Annotated[int, typer.Option(min=0, help="How many metrics to show; 0 for all.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Say which metrics are read and which are not, with a rule that drops those; beside a running process too."""
    from fleetwatch.db.usage import run_usage

    run_usage(_place(storage_path, config_file), unused_for, limit, as_json)


@db_app.command()
def compact(storage_path: StoragePath = None, config_file: ConfigFile = None, as_json: AsJson = False) -> None:
    """Seal and merge what is due at once. No other process may have an embedded store open, whose file it shrinks."""
    from fleetwatch.db.compact import run_compact

    set_up_logging("warn")
    _print(run_compact(_place(storage_path, config_file)), as_json)


@db_app.command()
def backup(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A new directory.")],
    storage_path: StoragePath = None,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy the store, as it is at this moment, to a new directory; a running process may go on writing."""
    from fleetwatch.db.copies import run_backup

    _print(run_backup(_place(storage_path, config_file), destination), as_json)


@db_app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A directory that `db backup` made.")],
    storage_path: StoragePath = None,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a store of a backup, in a new or empty directory, or an empty database."""
    from fleetwatch.db.copies import run_restore

    _print(run_restore(source, _place(storage_path, config_file)), as_json)


@db_app.command()
def move(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Of the embedded store, which stays.")],
    database: Annotated[
        str | None, typer.Argument(metavar="[DSN]", help="Of the database; without it, that of --config.file.")
    ] = None,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy an embedded store into a database; where it was interrupted, the same command goes on."""
    from fleetwatch.db.move import run_move

    set_up_logging("warn")
    _print(run_move(directory, _place(database, config_file)), as_json)


@db_app.command()
def delete(
    match: Annotated[
        list[str], typer.Option(metavar="SELECTOR", help='Which series, like up{job="node"}; may be repeated.')
    ],
    start: StartTime = None,
    end: EndTime = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be deleted, and leave it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    storage_path: StoragePath = None,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete samples of series; it can be undone for 24 hours. No other process may have an embedded store open."""
    from fleetwatch.db.delete import run_delete

    set_up_logging("warn")
    place, ask = _place(storage_path, config_file), None if yes else _confirm
    _print(run_delete(place, match, start, end, dry_run=dry_run, ask=ask), as_json)


@db_app.command()
def undelete(
    deletion_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="Of the delete; without it, all are listed.")
    ] = None,
    storage_path: StoragePath = None,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Bring back what was deleted; no other process may have an embedded store open."""
    from fleetwatch.db.delete import list_deletions, run_undelete

    set_up_logging("warn")
    place = _place(storage_path, config_file)
    if deletion_id is None:
        list_deletions(place, as_json)
    else:
        _print(run_undelete(place, deletion_id), as_json)


@db_app.command("export")
def export_samples(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A new file, or - for standard output.")],
    file_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="openmetrics or parquet.")
    ] = "openmetrics",
    match: Annotated[
        list[str] | None, typer.Option(metavar="SELECTOR", help='Which series, like up{job="node"}; may be repeated.')
    ] = None,
    start: StartTime = None,
    end: EndTime = None,
    storage_path: StoragePath = None,
    config_file: ConfigFile = None,
) -> None:
    """Write samples to a file; a running process may go on writing to the store."""
    from fleetwatch.db.transfer import run_export

    run_export(_place(storage_path, config_file), out, file_format, match or [], start, end)


@db_app.command("import")
def import_samples(
    file: Annotated[str, typer.Argument(metavar="FILE", help="OpenMetrics text or Parquet; - for standard input.")],
    storage_path: StoragePath = None,
    config_file: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Read samples from a file into the store; no other process may have an embedded store open."""
    from fleetwatch.db.transfer import run_import

    set_up_logging("warn")
    _print(run_import(_place(storage_path, config_file), file), as_json)


def _place(storage_path: str | None, config_file: Path | None) -> "Place":
    from fleetwatch.db.places import find_place

    return find_place(storage_path, config_file)


def _confirm(question: str) -> None:
    typer.confirm(question, abort=True, err=True)


def _print(result: dict[str, Any], as_json: bool) -> None:
    """A result for a script, or its parts as lines."""
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for key, value in result.items():
            typer.echo(f"{key.replace('_', ' ')}: {value}")
