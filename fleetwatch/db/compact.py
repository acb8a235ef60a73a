"""`fleetwatch db compact`."""

import contextlib
import time
from pathlib import Path
from typing import Any

from fleetwatch.db.progress import bytes_bar
from tsdb.embedded import EmbeddedStore
from tsdb.embedded.tools.inspection import bytes_on_disk, refuse_without_store
from tsdb.embedded.tools.vacuum import vacuum


def run_compact(directory: Path) -> dict[str, Any]:
    """Seal, merge and shrink; the sizes before and after. Raises StoreOpenError, StoreError."""
    refuse_without_store(directory)
    before = bytes_on_disk(directory)
    with contextlib.closing(EmbeddedStore(directory)) as store, bytes_bar("Compacting") as report:
        store.compact(time.time_ns() // 1_000_000)
        vacuum(directory, report)
    return {"bytes_before": before, "bytes_after": bytes_on_disk(directory)}
