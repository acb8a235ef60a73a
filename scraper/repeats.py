"""Bodies with several samples of a series, each with a time of its own: what a batch has no place for."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tsdb.model import BoolArray, FloatArray, IntArray

Repeat = tuple[int, int, float]
"""A further sample of a series: series id, time in ms, value."""


def find_repeats(ids: IntArray, times: IntArray, values: FloatArray, timed: BoolArray) -> tuple[Repeat, ...]:
    """Samples with a time of their own whose series has one earlier in the body, at another time.

    All are vectors of the body's lines; an id below 0 stands for a line that is not stored.
    """
    _, first = np.unique(ids, return_index=True)
    if len(first) == len(ids):
        return ()
    seen = {(int(ids[index]), int(times[index])) for index in first}
    is_first = np.zeros(len(ids), dtype=bool)
    is_first[first] = True
    repeats = []
    for index in np.flatnonzero(~is_first & timed & (ids >= 0)).tolist():
        sample = (int(ids[index]), int(times[index]))
        if sample not in seen:
            seen.add(sample)
            repeats.append((*sample, float(values[index])))
    return tuple(repeats)


def one_of_each_series(repeats: Iterable[Repeat]) -> Sequence[Mapping[int, tuple[int, float]]]:
    """The samples in rounds, with no series twice in one: (time in ms, value) by series id, in the body's order."""
    rounds: list[dict[int, tuple[int, float]]] = []
    for series_id, sample_ms, value in repeats:
        for samples in rounds:
            if series_id not in samples:
                break
        else:
            samples = {}
            rounds.append(samples)
        samples[series_id] = (sample_ms, value)
    return rounds
