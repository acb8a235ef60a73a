"""`fleetwatch db backup` and `db restore`."""

from pathlib import Path
from typing import Any

from fleetwatch.db.progress import bytes_bar
from tsdb.embedded.tools.backup import Manifest, back_up, restore


def run_backup(directory: Path, destination: Path) -> dict[str, Any]:
    """Copy a store; what the manifest says. Raises BackupError, StoreOpenError."""
    with bytes_bar("Copying") as report:
        manifest = back_up(directory, destination, report)
    return {"backup": str(destination), **_figures(manifest)}


def run_restore(source: Path, directory: Path) -> dict[str, Any]:
    """Make a store of a copy; what the manifest says. Raises BackupError."""
    with bytes_bar("Restoring") as report:
        manifest = restore(source, directory, report)
    return {"restored": str(directory), **_figures(manifest)}


def _figures(manifest: Manifest) -> dict[str, Any]:
    return {"created": manifest.created.isoformat(), "bytes": manifest.bytes, "sha256": manifest.sha256}
