"""`fleetwatch db delete` and `db undelete`."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer

from fleetwatch.db.arguments import read_range, read_selectors
from fleetwatch.db.places import Place
from fleetwatch.db.stores import store_to_change, store_to_read
from tsdb.tombstones import Deletion


def run_delete(
    place: Place,
    match: Sequence[str],
    start: str | None,
    end: str | None,
    *,
    dry_run: bool,
    ask: Callable[[str], None] | None,
) -> dict[str, Any]:
    """Count, `ask`, and delete; what was. Raises FleetwatchError, and whatever `ask` raises to stop it."""
    selectors = read_selectors(match, allow_all=True)
    start_ms, end_ms = read_range(start, end)
    if dry_run:
        with store_to_read(place) as store:
            deleted = store.count_deletable(selectors, start_ms, end_ms)
            return {"series": deleted.series, "samples": deleted.samples}
    with store_to_change(place, "/api/v1/admin/tsdb/delete_series") as store:
        if ask is not None:
            deleted = store.count_deletable(selectors, start_ms, end_ms)
            ask(f"Delete {deleted.samples:,} samples of {deleted.series:,} series?")
        deletion = store.delete_series(selectors, start_ms, end_ms, time.time_ns() // 1_000_000)
    return {"series": 0, "samples": 0} if deletion is None else _figures(deletion)


def run_undelete(place: Place, deletion_id: int) -> dict[str, Any]:
    """Undo a delete; what came back. Raises FleetwatchError."""
    with store_to_change(place, f"/api/v1/fleetwatch/deletions/{deletion_id}/undo") as store:
        found = [deletion for deletion in store.deletions() if deletion.deletion_id == deletion_id]
        store.undo_delete(deletion_id)
    return {"series": found[0].deleted.series, "samples": found[0].deleted.samples}


def list_deletions(place: Place, as_json: bool) -> None:
    """Print the deletes whose samples are not all removed yet, beside a running process too. Raises FleetwatchError."""
    with store_to_read(place) as store:
        deletions = store.deletions()
    if as_json:
        typer.echo(json.dumps([{**_figures(deletion), "match": _shown(deletion)} for deletion in deletions]))
        return
    for deletion in deletions:
        until = f"can be undone until {_time(deletion.expires_ms)}" if deletion.expires_ms else "is being removed"
        typer.echo(
            f"{deletion.deletion_id}: {deletion.deleted.samples:,} samples of {deletion.deleted.series:,} series, "
            f"{' or '.join(_shown(deletion))}, {until}"
        )
    if not deletions:
        typer.echo("nothing that was deleted can be brought back")


def _figures(deletion: Deletion) -> dict[str, Any]:
    return {
        "id": deletion.deletion_id,
        "series": deletion.deleted.series,
        "samples": deletion.deleted.samples,
        "undoable_until": _time(deletion.expires_ms) if deletion.expires_ms else None,
    }


def _shown(deletion: Deletion) -> list[str]:
    return [f"{{{','.join(map(str, matchers))}}}" for matchers in deletion.selectors]


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
