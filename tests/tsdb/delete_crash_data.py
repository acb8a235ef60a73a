"""The store that is deleted from, and what of it goes."""

import contextlib
from pathlib import Path

import numpy as np

from common.labels import Labels
from tests.tsdb.contract import MINUTE_MS, layout_of, metric
from tsdb.embedded import EmbeddedStore
from tsdb.model import Batch

LEVELS_MS = (MINUTE_MS, 4 * MINUTE_MS, 12 * MINUTE_MS)
MINUTES = 15
NOW_MS = MINUTES * MINUTE_MS
DELETED_END_MS = NOW_MS - 15_000
"""In the minute that is not sealed yet."""


def make(directory: Path) -> None:
    """Blocks of every level, one of them late, and unsealed samples."""
    noise = np.random.default_rng(1)
    with contextlib.closing(EmbeddedStore(directory, levels_ms=LEVELS_MS, sealing_delay_ms=0)) as store:
        target = store.register_target(Labels.of(job="node"))
        layout = layout_of(store, *(metric(name, n=str(n)) for name in "xy" for n in range(5)))
        for time_ms in range(0, NOW_MS, 5000):
            store.append(Batch(target, layout, time_ms, noise.random(10))).result()
            if time_ms % MINUTE_MS == 0:
                store.maintain(time_ms)
        store.append(Batch(target, layout, 30_001, noise.random(10))).result()
