"""`fleetwatch db compact`."""

import contextlib
import time
from pathlib import Path
from typing import Any

from fleetwatch.db.places import Place
from fleetwatch.db.progress import bytes_bar
from fleetwatch.db.stores import opened_database
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.tools.inspection import bytes_on_disk, refuse_without_store
from tsdb.embedded.tools.vacuum import vacuum
from tsdb.timescale.tools.inspection import inspected, row_of


def run_compact(place: Place) -> dict[str, Any]:
    """Seal, merge and shrink; the sizes before and after. Raises StoreOpenError, StoreError."""
    if place.is_database:
        return _seal_database(place)
    directory = Path(place.spec)
    refuse_without_store(directory)
    before = bytes_on_disk(directory)
    with contextlib.closing(EmbeddedStore(directory)) as store, bytes_bar("Compacting") as report:
        store.compact(_now_ms())
        vacuum(directory, report)
    return {"bytes_before": before, "bytes_after": bytes_on_disk(directory)}


def _seal_database(place: Place) -> dict[str, Any]:
    """What is due, beside the processes that do so too."""
    before = _rows(place)
    with opened_database(place) as store:
        store.compact(_now_ms())
    return {"journal_rows_before": before, "journal_rows_after": _rows(place)}


def _rows(place: Place) -> int:
    with inspected(place.spec) as connection:
        return int(row_of(connection, "SELECT count(*) FROM fleetwatch_data.journal")[0])


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
