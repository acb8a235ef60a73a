"""`fleetwatch db backup` and `db restore`."""

from pathlib import Path
from typing import Any

from fleetwatch.db.places import Place
from fleetwatch.db.progress import bytes_bar
from tsdb.embedded.tools.backup import Manifest, back_up, restore
from tsdb.timescale.tools import backup as database_backup
from tsdb.timescale.tools.restore import restore as restore_database


def run_backup(place: Place, destination: Path) -> dict[str, Any]:
    """Copy a store; what the manifest says. Raises BackupError, StoreOpenError."""
    with bytes_bar("Copying") as report:
        if place.is_database:
            of_database = database_backup.back_up(place.spec, destination, report)
            return {"backup": str(destination), **_database_figures(of_database)}
        manifest = back_up(Path(place.spec), destination, report)
    return {"backup": str(destination), **_figures(manifest)}


def run_restore(source: Path, place: Place) -> dict[str, Any]:
    """Make a store of a copy; what the manifest says. Raises BackupError."""
    with bytes_bar("Restoring") as report:
        if place.is_database:
            of_database = restore_database(source, place.spec, report)
            return {"restored": place.shown, **_database_figures(of_database)}
        manifest = restore(source, Path(place.spec), report)
    return {"restored": place.spec, **_figures(manifest)}


def _figures(manifest: Manifest) -> dict[str, Any]:
    return {"created": manifest.created.isoformat(), "bytes": manifest.bytes, "sha256": manifest.sha256}


def _database_figures(manifest: database_backup.Manifest) -> dict[str, Any]:
    rows = sum(manifest.rows.values())
    return {"created": manifest.created.isoformat(), "bytes": manifest.bytes, "rows": rows}
