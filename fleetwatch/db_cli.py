"""The flags of `fleetwatch db`: look at a store, check it, copy it, and move samples in and out."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from common.logs import set_up_logging

db_app = typer.Typer(
    no_args_is_help=True, help="Look at the embedded store, check it, copy it, move samples in and out."
)

StoragePath = Annotated[Path, typer.Option("--storage.path", metavar="PATH", help="Directory of the store.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

DEFAULT_STORAGE_PATH = Path("data")
"""Where `fleetwatch run` keeps its store without a config file."""


@db_app.command()
def status(storage_path: StoragePath = DEFAULT_STORAGE_PATH, as_json: AsJson = False) -> None:
    """Say what is in the store and how large it is, beside a running process too."""
    from fleetwatch.db.status import run_status

    run_status(storage_path, as_json)


@db_app.command()
def check(storage_path: StoragePath = DEFAULT_STORAGE_PATH, as_json: AsJson = False) -> None:
    """Read everything and name what is damaged, beside a running process too; exit with 1 where something is."""
    from fleetwatch.db.check import run_check

    if not run_check(storage_path, as_json):
        raise typer.Exit(1)


@db_app.command()
def usage(
    storage_path: StoragePath = DEFAULT_STORAGE_PATH,
    unused_for: Annotated[
        str, typer.Option(metavar="DURATION", help="How long nobody may have read a metric to call it unused.")
    ] = "30d",
    limit: Annotated[int, typer.Option(min=0, help="How many metrics to show; 0 for all.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Say which metrics are read and which are not, with a rule that drops those; beside a running process too."""
    from fleetwatch.db.usage import run_usage

    run_usage(storage_path, unused_for, limit, as_json)


@db_app.command()
def compact(storage_path: StoragePath = DEFAULT_STORAGE_PATH, as_json: AsJson = False) -> None:
    """Seal and merge what is due, and give free pages back to the disk; no other process may have the store open."""
    from fleetwatch.db.compact import run_compact

    set_up_logging("warn")
    _print(run_compact(storage_path), as_json)


@db_app.command()
def backup(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A new directory.")],
    storage_path: StoragePath = DEFAULT_STORAGE_PATH,
    as_json: AsJson = False,
) -> None:
    """Copy the store, as it is at this moment, to a new directory; a running process may go on writing."""
    from fleetwatch.db.copies import run_backup

    _print(run_backup(storage_path, destination), as_json)


@db_app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A directory that `db backup` made.")],
    storage_path: StoragePath = DEFAULT_STORAGE_PATH,
    as_json: AsJson = False,
) -> None:
    """Make a store of a backup, in a new or empty directory."""
    from fleetwatch.db.copies import run_restore

    _print(run_restore(source, storage_path), as_json)


@db_app.command()
def delete(
    match: Annotated[
        list[str], typer.Option(metavar="SELECTOR", help='Which series, like up{job="node"}; may be repeated.')
    ],
    start: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339 or seconds; all by default.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339 or seconds; all by default.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be deleted, and leave it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    storage_path: StoragePath = DEFAULT_STORAGE_PATH,
    as_json: AsJson = False,
) -> None:
    """Delete samples of series; it can be undone for 24 hours. No other process may have the store open."""
    from fleetwatch.db.delete import run_delete

    set_up_logging("warn")
    _print(run_delete(storage_path, match, start, end, dry_run=dry_run, ask=None if yes else _confirm), as_json)


@db_app.command()
def undelete(
    deletion_id: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="Of the delete; without it, all are listed.")
    ] = None,
    storage_path: StoragePath = DEFAULT_STORAGE_PATH,
    as_json: AsJson = False,
) -> None:
    """Bring back what was deleted; no other process may have the store open."""
    from fleetwatch.db.delete import list_deletions, run_undelete

    set_up_logging("warn")
    if deletion_id is None:
        list_deletions(storage_path, as_json)
    else:
        _print(run_undelete(storage_path, deletion_id), as_json)


@db_app.command("export")
def export_samples(
    out: Annotated[str, typer.Argument(metavar="OUT", help="A new file, or - for standard output.")],
    file_format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="openmetrics or parquet.")
    ] = "openmetrics",
    match: Annotated[
        list[str] | None, typer.Option(metavar="SELECTOR", help='Which series, like up{job="node"}; may be repeated.')
    ] = None,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339 or seconds; all by default.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="RFC 3339 or seconds; all by default.")] = None,
    storage_path: StoragePath = DEFAULT_STORAGE_PATH,
) -> None:
    """Write samples to a file; a running process may go on writing to the store."""
    from fleetwatch.db.transfer import run_export

    run_export(storage_path, out, file_format, match or [], start, end)


@db_app.command("import")
def import_samples(
    file: Annotated[str, typer.Argument(metavar="FILE", help="OpenMetrics text or Parquet; - for standard input.")],
    storage_path: StoragePath = DEFAULT_STORAGE_PATH,
    as_json: AsJson = False,
) -> None:
    """Read samples from a file into the store; no other process may have it open."""
    from fleetwatch.db.transfer import run_import

    set_up_logging("warn")
    _print(run_import(storage_path, file), as_json)


def _confirm(question: str) -> None:
    typer.confirm(question, abort=True, err=True)


def _print(result: dict[str, Any], as_json: bool) -> None:
    """A result for a script, or its parts as lines."""
    if as_json:
        typer.echo(json.dumps(result))
    else:
        for key, value in result.items():
            typer.echo(f"{key.replace('_', ' ')}: {value}")
