"""`fleetwatch db` in this process, for tests that call it often, and a store for it to work on."""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.labels import Labels
from fleetwatch.main import main
from tsdb.embedded import EmbeddedStore
from tsdb.model import Batch

LONG_AGO_MS = 1_700_000_000_000
SERIES = 20


def run(*arguments: str | Path, status: int = 0) -> bytes:
    """What a command prints on standard output, or on standard error where it ends by an error."""
    out = io.TextIOWrapper(io.BytesIO(), write_through=True)
    errors = io.StringIO()
    ended: str | int | None = 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        patch.setattr(sys, "argv", ["fleetwatch", "db", *map(str, arguments)])
        try:
            main()
        except SystemExit as end:
            ended = end.code
    said = out.detach().getvalue()
    if isinstance(ended, str):
        assert not said
        ended, said = 1, f"{ended}\n".encode()  # as Python itself does it
    assert ended == status, said.decode() + errors.getvalue()
    assert not errors.getvalue()
    return said


def text(*arguments: str | Path, status: int = 0) -> str:
    """The same as text."""
    return run(*arguments, status=status).decode()


def answer(*arguments: str | Path, status: int = 0) -> Any:
    """What a command answers with `--json`."""
    return json.loads(run(*arguments, "--json", status=status))


def make_store(directory: Path, rows: int = 500) -> None:
    """A store with a sealed target of 20 series, half of which change, and one more journal row later on."""
    noise = np.random.default_rng(1)
    with contextlib.closing(EmbeddedStore(directory)) as store:
        target = store.register_target(Labels.of(job="node"))
        layout = store.layout(store.series_ids([Labels.of(__name__="x", n=str(n)) for n in range(SERIES)]))
        for row in range(rows):
            values = np.where(np.arange(SERIES) % 2, 1.0, noise.random(SERIES))
            store.append(Batch(target, layout, LONG_AGO_MS + 15_000 * row, values))
        store.append(Batch(target, layout, LONG_AGO_MS + 2 * 10**9, values)).result()
        store.maintain(LONG_AGO_MS + 10**9)
