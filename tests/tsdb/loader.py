"""A process to be killed: `python -m tests.tsdb.loader DIRECTORY SEED` writes to a store without end.

Batches go out several at a time, some late and some repeated, while windows are sealed. For each batch one line is
printed before it is appended (`w`) and one after it was acknowledged (`a`): target, milliseconds, value.
"""

import random
import sys
import threading
from concurrent.futures import Future

import numpy as np

from common.labels import Labels
from tsdb.embedded import EmbeddedStore
from tsdb.model import Batch

WINDOW_MS = 10_000
TARGETS = 3
SERIES = 20


def main() -> None:
    directory, seed = sys.argv[1], int(sys.argv[2])
    choose = random.Random(seed)
    store = EmbeddedStore(directory, window_ms=WINDOW_MS, sealing_delay_ms=0)
    lock = threading.Lock()

    def say(kind: str, target: int, time_ms: int, value: int) -> None:
        with lock:
            sys.stdout.write(f"{kind} {target} {time_ms} {value}\n")
            sys.stdout.flush()

    targets = [store.register_target(Labels.of(instance=str(n))) for n in range(TARGETS)]
    now_ms = choose.randrange(10**6) * 1000
    value = 0
    sealing = threading.Thread(target=lambda: None)
    sealing.start()
    while True:
        now_ms += 1000
        written: list[tuple[int, int, int, Future[None]]] = []
        for target in range(TARGETS):
            value += 1
            # A series comes and goes, so that layouts and series are made all the time.
            churn = f"{now_ms // 7000}"
            labels = [Labels.of(target=str(target), n=str(n)) for n in range(SERIES)]
            layout = store.layout(store.series_ids([*labels, Labels.of(target=str(target), churn=churn)]))
            late_ms = 1000 * choose.choice([0, 0, 0, 0, 3, 15])
            time_ms = now_ms - late_ms
            say("w", target, time_ms, value)
            batch = Batch(targets[target], layout, time_ms, np.full(SERIES + 1, float(value)))
            written.append((target, time_ms, value, store.append(batch)))
        for target, time_ms, number, future in written:
            future.result()
            say("a", target, time_ms, number)
        if not sealing.is_alive():
            sealing = threading.Thread(target=store.maintain, args=(now_ms,), daemon=True)
            sealing.start()


if __name__ == "__main__":
    main()
