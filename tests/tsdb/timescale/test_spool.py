"""The spool: what was put in comes out in order, whatever happened to the process, the disk or the bytes."""

import errno
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.labels import Labels
from tests.disks import fill, mounted
from tsdb.catalog import Catalog
from tsdb.errors import StoreError, StoreLockedError, WriteRefusedError
from tsdb.model import ABSENT_BITS, STALE_NAN_BITS, Batch, LogEntry, SeriesExemplar, Server
from tsdb.timescale import spool as spool_module
from tsdb.timescale.spool import Spool, inspect
from tsdb.timescale.spool_records import SegmentDecoder, SegmentEncoder
from tsdb.timescale.writes import Write, WriteId

RUN = uuid.UUID(int=7)

texts = st.text(min_size=1, max_size=8)
label_sets = st.dictionaries(texts | st.text(st.characters(codec=None), min_size=1, max_size=3), texts, max_size=4)
bits = st.integers(0, (1 << 64) - 1) | st.sampled_from([STALE_NAN_BITS, ABSENT_BITS, 1 << 63])
times = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def _batches(draw: st.DrawFn) -> tuple[Labels, list[Labels], int, list[int], list[int] | None]:
    series = draw(st.lists(label_sets.map(Labels.of), max_size=5, unique=True))
    values = draw(st.lists(bits, min_size=len(series), max_size=len(series)))
    own = draw(st.none() | st.lists(times, min_size=len(series), max_size=len(series)))
    return draw(label_sets.map(Labels.of)), series, draw(times), values, own


def _write(catalog: Catalog, *rows: tuple[Labels, list[Labels], int, list[int], list[int] | None]) -> Write:
    return Write(
        batches=[
            Batch(
                catalog.target(target),
                catalog.layout(catalog.index.ids(series)),
                time_ms,
                np.array(values, dtype=np.uint64).view(np.float64),
                None if own is None else np.array(own, dtype=np.int64),
            )
            for target, series, time_ms, values, own in rows
        ]
    )


def _told(catalog: Catalog, write: Write) -> list[object]:
    """What a write says, in words that do not depend on the process."""
    return [
        (
            catalog.target_labels(batch.target_id),
            catalog.index.labels(batch.layout.series_ids),
            batch.time_ms,
            batch.values.view(np.uint64).tolist(),
            None if batch.times_ms is None else batch.times_ms.tolist(),
        )
        for batch in write.batches
    ]


@given(st.lists(st.lists(_batches(), max_size=3), min_size=1, max_size=4))
def test_what_another_process_reads_is_what_was_written(
    writes: list[list[tuple[Labels, list[Labels], int, list[int], list[int] | None]]],
) -> None:
    ours, theirs = Catalog(), Catalog()
    # Numbers of the other process mean something else.
    theirs.target(Labels.of(job="another"))
    theirs.index.ids([Labels.of(__name__="another")])
    encoder, decoder = SegmentEncoder(ours), SegmentDecoder(theirs)
    for number, rows in enumerate(writes):
        write = _write(ours, *rows)
        data = encoder.encode(WriteId(RUN, number), write)
        encoder.written(write)
        write_id, read = decoder.decode(data)
        assert write_id == WriteId(RUN, number)
        assert _told(theirs, read) == _told(ours, write)


def test_logs_exemplars_and_servers_too(tmp_path: Path) -> None:
    catalog = Catalog()
    (series_id,) = catalog.index.ids([Labels.of(__name__="x\0")]).tolist()
    entry = LogEntry(uuid.uuid4(), 2**63 - 1, uuid.uuid4(), "info", "unit", "words", {"a": "b"})
    server = Server(uuid.uuid4(), "web", "of wood", {"rack": "1"})
    exemplar = SeriesExemplar(series_id, 5, float("inf"), Labels.of(trace_id="1"), True)
    spool = Spool(tmp_path, 1 << 20)
    spool.append(WriteId(RUN, 1), Write([], [entry], [exemplar], [server], [server]), catalog)
    first = spool.first(catalog)
    assert first is not None
    assert (first[1].logs, first[1].servers, first[1].made_servers) == ([entry], [server], [server])
    assert first[1].exemplars == [exemplar]
    spool.close()


def _scrape(catalog: Catalog, number: int, series: int = 50) -> Write:
    labels = [Labels.of(__name__="x", n=str(n)) for n in range(series)]
    noise = np.random.default_rng(number).integers(0, 1 << 62, series)
    return _write(catalog, (Labels.of(job="node"), labels, number, noise.tolist(), None))


def _numbers(spool: Spool) -> list[int]:
    """The numbers of all writes in a spool, which is empty afterwards."""
    catalog, found = Catalog(), []
    while (first := spool.first(catalog)) is not None:
        assert first[1].batches[0].time_ms == first[0].number
        found.append(first[0].number)
        spool.remove_first()
    return found


def _filled(directory: Path, numbers: range, most_bytes: int = 1 << 20) -> list[Path]:
    """The segments of a spool with these writes."""
    spool, catalog = Spool(directory, most_bytes), Catalog()
    for number in numbers:
        spool.append(WriteId(RUN, number), _scrape(catalog, number), catalog)
    spool.close()
    return sorted(directory.glob("*.spool"))


def test_order_over_restarts_and_segments(tmp_path: Path) -> None:
    _filled(tmp_path, range(10))
    _filled(tmp_path, range(10, 20))
    spool = Spool(tmp_path, 1 << 20)
    assert inspect(tmp_path).records == 20
    assert inspect(tmp_path).oldest_ms == 0
    catalog = Catalog()
    spool.append(WriteId(RUN, 20), _scrape(catalog, 20), catalog)
    assert _numbers(spool) == list(range(21))
    assert spool.empty
    assert list(tmp_path.glob("*.spool")) == []
    spool.append(WriteId(RUN, 21), _scrape(catalog, 21), catalog)
    assert _numbers(spool) == [21]
    spool.close()


def test_a_long_spool_begins_new_segments(tmp_path: Path) -> None:
    paths = _filled(tmp_path, range(2000), 8 << 20)
    assert len(paths) > 1
    spool = Spool(tmp_path, 8 << 20)
    assert _numbers(spool) == list(range(2000))
    spool.close()


def test_a_torn_end_is_cut_off(tmp_path: Path) -> None:
    """Wherever a process was killed, every record before the last one is there."""
    (path,) = _filled(tmp_path / "whole", range(3))
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        directory = tmp_path / str(length)
        directory.mkdir()
        (directory / path.name).write_bytes(data[:length])
        spool = Spool(directory, 1 << 20)
        numbers = _numbers(spool)
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= 3 * length // len(data) - 1
        assert spool.figures()["spool_records_damaged_total"] == 0
        spool.close()


def test_a_flipped_bit_costs_one_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """But for the first one, which has the labels that the others build on."""
    (path,) = _filled(tmp_path / "whole", range(4))
    data = path.read_bytes()
    records = [at for at in range(len(data)) if data.startswith(b"\xf5FW1", at)]
    for at in range(records[1], records[3], 11):
        directory = tmp_path / str(at)
        directory.mkdir()
        damaged = bytearray(data)
        damaged[at] ^= 16
        (directory / path.name).write_bytes(damaged)
        caplog.clear()
        spool = Spool(directory, 1 << 20)
        assert _numbers(spool) == ([0, 2, 3] if at < records[2] else [0, 1, 3])
        assert spool.figures()["spool_records_damaged_total"] == 1
        assert "damaged" in caplog.text
        spool.close()
    damaged = bytearray(data)
    damaged[20] ^= 1
    path.write_bytes(damaged)
    spool = Spool(path.parent, 1 << 20)
    assert _numbers(spool) == []
    assert spool.figures()["spool_records_damaged_total"] == 4
    spool.close()


def test_a_full_spool_refuses(tmp_path: Path) -> None:
    spool, catalog = Spool(tmp_path, 20_000), Catalog()
    kept = []
    for number in range(100):
        try:
            spool.append(WriteId(RUN, number), _scrape(catalog, number), catalog)
            kept.append(number)
        except WriteRefusedError as error:
            assert "is full with" in str(error)  # noqa: PT017  # some are taken, some are not
    assert 10 < len(kept) < 100
    assert spool.figures()["spool_bytes"] <= 20_000
    assert _numbers(spool) == kept
    spool.append(WriteId(RUN, 100), _scrape(catalog, 100), catalog)
    assert _numbers(spool) == [100]
    spool.close()


def test_a_full_disk_refuses(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as disk:
        spool, catalog = Spool(disk / "spool", 1 << 30), Catalog()
        spool.append(WriteId(RUN, 0), _scrape(catalog, 0), catalog)
        fill(disk / "ballast")
        kept = [0]
        for number in range(1, 30):
            try:
                spool.append(WriteId(RUN, number), _scrape(catalog, number), catalog)
                kept.append(number)
            except WriteRefusedError as error:
                assert "cannot be written: No space left on device" in str(error)  # noqa: PT017
        assert len(kept) < 30
        (disk / "ballast").unlink()
        spool.append(WriteId(RUN, 30), _scrape(catalog, 30), catalog)
        spool.close()
        spool = Spool(disk / "spool", 1 << 30)
        assert _numbers(spool) == [*kept, 30]
        assert spool.figures()["spool_records_damaged_total"] == 0
        spool.close()


def test_one_process_has_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    with pytest.raises(StoreLockedError, match=f"is in use by process {os.getpid()}"):
        Spool(tmp_path, 1 << 20)
    spool.close()
    Spool(tmp_path, 1 << 20).close()


def test_what_cannot_be_read_now_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, spool = Catalog(), Spool(tmp_path, 1 << 20)
    spool.append(WriteId(RUN, 1), _scrape(catalog, 1), catalog)

    def without_descriptors(*_: object) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as exhausted:
        exhausted.setattr(spool_module, "_read", without_descriptors)
        with pytest.raises(StoreError, match="cannot be read now: Too many open files"):
            spool.first(catalog)
    assert _numbers(spool) == [1]
    spool.close()


KILLED = """
import sys
from pathlib import Path
from tests.tsdb.timescale.test_spool import RUN, _scrape
from tsdb.catalog import Catalog
from tsdb.timescale.spool import Spool
from tsdb.timescale.writes import WriteId
spool, catalog = Spool(Path(sys.argv[1]), 1 << 30), Catalog()
for number in range(10**6):
    spool.append(WriteId(RUN, number), _scrape(catalog, number), catalog)
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    acknowledged = int(lines[-1])
    spool = Spool(tmp_path, 1 << 30)
    numbers = _numbers(spool)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) in (acknowledged + 1, acknowledged + 2)
    spool.close()
