import numpy as np

from common.labels import Labels
from tests.tsdb.reading import check
from tsdb.model import ABSENT, Frame, IntArray
from tsdb.pieces import Piece, Wanted, join, to_frames


def ints(*numbers: int) -> IntArray:
    return np.array(numbers, dtype=np.int64)


def piece(times: list[int], seq: int, ids: list[int], values: list[list[float]]) -> Piece:
    return Piece(ints(*times), np.full(len(times), seq), ints(*ids), np.array(values, dtype=np.float64))


def frames_of(*pieces: Piece) -> list[Frame]:
    frames = to_frames([pieces], lambda ids: [Labels.of(n=str(n)) for n in ids.tolist()])
    for frame in frames:
        check(frame, 0, 100)
    return sorted(frames, key=lambda frame: int(frame.series_ids[0]))


def test_a_series_is_wanted_of_its_home() -> None:
    """Or one that a second target takes up between two steps of a read would be read from both."""
    wanted = Wanted(ints(2, 5, 6), np.array([0, 1, 0], dtype=np.int32))
    assert wanted.columns(0, ints(6, 5, 2, 3, 99)).tolist() == [0, 2]
    assert wanted.columns(1, ints(6, 5, 2, 3, 99)).tolist() == [1]
    assert Wanted(ints(2, 5)).columns(7, ints(6, 5, 2, 3, 99)).tolist() == [1, 2]
    assert Wanted(ints()).columns(0, ints(0, 1)).tolist() == []


def test_series_are_grouped_by_the_pieces_they_are_in() -> None:
    """So that short-lived series do not widen the matrix of the lasting ones."""
    joined = join(
        [piece([3, 4], 2, [8, 1], [[9, 10], [3, 4]]), piece([1, 2], 1, [1, 7], [[1, 2], [5, 6]])],
    )
    found = {tuple(part.series_ids.tolist()): (part.times_ms.tolist(), part.values.tolist()) for part in joined}
    assert found == {
        (1,): ([1, 2, 3, 4], [[1, 2, 3, 4]]),
        (7,): ([1, 2], [[5, 6]]),
        (8,): ([3, 4], [[9, 10]]),
    }


def test_overlaps_are_decided_by_the_write_number() -> None:
    earlier = piece([1, 2, 3], 1, [1, 2], [[1, 2, 3], [4, ABSENT, 6]])
    later = piece([2, 3, 4], 2, [1, 2], [[20, ABSENT, 40], [50, 60, ABSENT]])
    for order in ([earlier, later], [later, earlier]):
        (frame,) = frames_of(*order)
        assert frame.present is not None
        assert frame.present.tolist() == [[True] * 4, [True, True, True, False]]
        assert frame.values[0].tolist() == [1, 20, 3, 40]
        assert frame.values[1, :3].tolist() == [4, 50, 60]


def test_series_without_samples_are_left_out() -> None:
    (frame,) = frames_of(piece([1, 2], 1, [1, 2], [[ABSENT, ABSENT], [1, 2]]))
    assert frame.series_ids.tolist() == [2]
    assert frames_of(piece([1], 1, [1], [[ABSENT]]), piece([], 1, [1], [[]])) == []
