"""The head against a dictionary: whatever was appended is read, from wherever it is kept."""

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.tsdb.reading import bits
from tsdb.head import Head
from tsdb.model import ABSENT, ABSENT_BITS, STALE_NAN, Batch, IntArray, Layout
from tsdb.pieces import Piece, Wanted, join

TARGETS = 2
LAYOUTS = [
    Layout(number, np.array(ids, dtype=np.int64))
    for number, ids in enumerate([[0, 1, 2, 3], [0, 1, 2, 3, 9], [3, 1], [7], []])
]
SERIES = 10

Samples = dict[tuple[int, int], int]
"""By (series, milliseconds): the bits of the value that was written last."""

values = st.sampled_from([0.0, -0.0, 1.0, 2.5, ABSENT, STALE_NAN])


def read(pieces: list[Piece]) -> Samples:
    found = {}
    for piece in join(pieces):
        assert (
            piece.values.shape
            == (len(piece.series_ids), len(piece.times_ms))
            == (len(piece.series_ids), len(piece.seqs))
        )
        for series_id, row in zip(piece.series_ids.tolist(), piece.values.view(np.uint64).tolist(), strict=True):
            for time_ms, value in zip(piece.times_ms.tolist(), row, strict=True):
                if value != ABSENT_BITS:
                    assert (series_id, time_ms) not in found
                    found[series_id, time_ms] = value
    return found


class HeadLife(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.head = Head()
        self.seq = 0
        self.now_ms = [0] * TARGETS
        # By target: sequence number, latest time and samples of each batch.
        self.batches: list[dict[int, tuple[int, Samples]]] = [{} for _ in range(TARGETS)]

    def append(self, target: int, layout: Layout, time_ms: int, row: list[float], own: list[int] | None = None) -> None:
        self.seq += 1
        vector = np.array(row, dtype=np.float64)
        times = None if own is None else np.array(own, dtype=np.int64)
        self.head.append(self.seq, Batch(target, layout, time_ms, vector, times))
        vector[:] = 99.0  # what was appended is not looked at again
        samples = {
            (series_id, at_ms): bits(value)
            for series_id, at_ms, value in zip(
                layout.series_ids.tolist(), own or [time_ms] * len(row), row, strict=True
            )
            if bits(value) != ABSENT_BITS
        }
        last_ms = max([time_ms, *[at_ms for _, at_ms in samples]])
        self.batches[target][self.seq] = (last_ms, samples)

    @rule(
        number=st.integers(0, TARGETS - 1),
        layout=st.sampled_from(LAYOUTS),
        row=st.lists(values, min_size=SERIES, max_size=SERIES),
        changes=st.lists(st.integers(0, 3), max_size=5),
        rows=st.integers(1, 80),
    )
    def scrape(self, number: int, layout: Layout, row: list[float], changes: list[int], rows: int) -> None:
        """A run of rows in which some series change now and then."""
        row = row[: len(layout)]
        for nth in range(rows):
            self.now_ms[number] += 1
            for place in changes:
                if place < len(row) and nth % (place + 2) == 0:
                    row[place] = float(nth)
            self.append(number, layout, self.now_ms[number], row)

    @rule(
        number=st.integers(0, TARGETS - 1),
        layout=st.sampled_from(LAYOUTS),
        ago_ms=st.integers(0, 50),
        row=st.lists(values, min_size=SERIES, max_size=SERIES),
        own=st.one_of(st.none(), st.lists(st.integers(0, 200), min_size=SERIES, max_size=SERIES)),
    )
    def write_late(self, number: int, layout: Layout, ago_ms: int, row: list[float], own: list[int] | None) -> None:
        size = len(layout)
        time_ms = self.now_ms[number] - ago_ms
        self.append(number, layout, time_ms, row[:size], None if own is None else own[:size])
        if own is None:
            self.now_ms[number] = max(time_ms, self.now_ms[number])

    @rule(number=st.integers(0, TARGETS - 1), ago_ms=st.integers(-1, 100), behind=st.integers(0, 30))
    def leave(self, number: int, ago_ms: int, behind: int) -> None:
        before_ms, upto_seq = self.now_ms[number] - ago_ms, self.seq - behind
        if number not in self.head.targets():
            return
        leaving = {seq for seq, (last_ms, _) in self.batches[number].items() if last_ms < before_ms and seq <= upto_seq}
        outgoing = self.head.before(number, before_ms, upto_seq)
        assert sorted(outgoing.seqs) == sorted(leaving)
        expected: Samples = {}
        for seq in sorted(leaving):
            expected.update(self.batches[number].pop(seq)[1])
        assert read([*outgoing.rows, *outgoing.loose]) == expected
        self.head.drop(number, before_ms, upto_seq)

    @invariant()
    def all_is_there(self) -> None:
        everything = Wanted(np.arange(SERIES))
        for target, batches in enumerate(self.batches):
            expected: Samples = {}
            for seq in sorted(batches):
                expected.update(batches[seq][1])
            assert read(self.head.pieces(target, everything, -(10**9), 10**9)) == expected
        assert set(self.head.targets()) == {n for n, batches in enumerate(self.batches) if batches}

    @rule(
        number=st.integers(0, TARGETS - 1),
        start_ms=st.integers(0, 200),
        span_ms=st.integers(0, 100),
        chosen=st.sets(st.integers(0, SERIES - 1)),
    )
    def look(self, number: int, start_ms: int, span_ms: int, chosen: set[int]) -> None:
        end_ms = start_ms + span_ms
        expected: Samples = {}
        for seq in sorted(self.batches[number]):
            expected.update(self.batches[number][seq][1])
        wanted = Wanted(np.array(sorted(chosen), dtype=np.int64))
        assert read(self.head.pieces(number, wanted, start_ms, end_ms)) == {
            (series_id, time_ms): value
            for (series_id, time_ms), value in expected.items()
            if series_id in chosen and start_ms <= time_ms <= end_ms
        }


TestHeadLife = HeadLife.TestCase
TestHeadLife.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def ids(count: int) -> IntArray:
    return np.arange(count, dtype=np.int64)


def test_what_does_not_change_is_kept_once() -> None:
    head = Head()
    layout = Layout(0, ids(1000))
    row = np.zeros(1000)
    for seq in range(1, 121):
        row[:300] += 1
        head.append(seq, Batch(0, layout, seq, row.copy()))
    figures = head.figures()
    assert figures["head_samples"] == 120_000
    # 96 rows are frozen, 24 are not.
    assert figures["head_bytes"] < 8 * (96 * 300 + 24 * 1000) * 1.1
    head.drop(0, 120, 120)
    assert head.figures()["head_samples"] == 1000
    assert head.figures()["head_bytes"] < 8 * 1000 * 2


def test_a_reader_keeps_what_it_saw() -> None:
    head = Head()
    layout = Layout(0, ids(2))
    for seq in range(1, 6):
        head.append(seq, Batch(0, layout, seq, np.array([seq, 7.0])))
    (piece,) = head.pieces(0, Wanted(ids(2)), 0, 99)
    before = head.before(0, 4, 99)
    for seq in range(6, 90):
        head.append(seq, Batch(0, layout, seq, np.array([seq, 7.0])))
    head.drop(0, 4, 99)
    assert piece.values.tolist() == [[1, 2, 3, 4, 5], [7] * 5]
    assert before.seqs == [1, 2, 3]
    assert before.rows[0].values.tolist() == [[1, 2, 3], [7] * 3]


def test_series_with_late_samples_are_told() -> None:
    head = Head()
    assert head.loose_series().tolist() == []
    for seq, (time_ms, layout) in enumerate([(5, LAYOUTS[0]), (4, LAYOUTS[2]), (5, LAYOUTS[3])]):
        head.append(seq, Batch(seq // 2, layout, time_ms, np.ones(len(layout))))
    assert head.loose_series().tolist() == [1, 3]


def test_many_of_the_columns_are_as_each_alone() -> None:
    head = Head()
    layout = Layout(0, ids(40)[::-1].copy())
    random = np.random.default_rng(3)
    matrix = np.where(np.arange(40) % 3 == 0, random.integers(0, 9, (60, 40)), 7.0)
    for seq, row in enumerate(matrix, 1):
        head.append(seq, Batch(0, layout, 10 * seq, row))
    (piece,) = head.pieces(0, Wanted(ids(30)), 45, 555)
    assert piece.times_ms.tolist() == list(range(50, 560, 10))
    assert piece.seqs.tolist() == list(range(5, 56))
    assert piece.values.tolist() == matrix[4:55, 10:].T.tolist()
    for series_id, values in zip(piece.series_ids, piece.values, strict=True):
        (alone,) = head.pieces(0, Wanted(ids(40)[series_id : series_id + 1]), 45, 555)
        assert alone.values.tolist() == [values.tolist()]


def test_nothing_lies_between_two_rows() -> None:
    head = Head()
    for seq in (1, 2, 3):
        head.append(seq, Batch(0, LAYOUTS[3], 10 * seq, np.ones(1)))
    everything = Wanted(ids(SERIES))
    assert head.pieces(0, everything, 11, 19) == []
    assert head.pieces(0, everything, 25, 15) == []
    assert head.before(0, 10, 99).rows == []
