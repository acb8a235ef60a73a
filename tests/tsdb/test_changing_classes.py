"""Retention classes that change from start to start: what was never past its time is there, whatever came before.

The other direction is coarse: a block goes as a whole, so that a sample may stay for a while after its time.
"""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.labels import Labels
from common.matchers import Matcher, matches_all
from tests.tsdb.reading import bits, read
from tsdb.embedded import EmbeddedStore

LEVELS_MS = (20, 80, 240)
SERIES = [Labels.of(__name__="x", n=str(n)) for n in range(3)]
EVER_MS = 10**12

keeps = st.sampled_from([60, 150, 400, 1500])
Rules = tuple[int, list[tuple[list[Matcher], int]]]
"""The default retention, and classes."""

rules = st.tuples(
    keeps, st.lists(st.tuples(st.sampled_from("012"), keeps).map(lambda one: ([Matcher.equal("n", one[0])], one[1])))
)
lives = st.lists(
    st.tuples(rules, st.integers(1, 30), st.lists(st.integers(0, 300), max_size=3)), min_size=2, max_size=6
)


def keep_ms(series: Labels, in_force: Rules) -> int:
    default_ms, classes = in_force
    return next((keep for matchers, keep in classes if matches_all(matchers, series)), default_ms)


@settings(max_examples=80)
@given(life=lives)
def test_what_was_never_past_its_time_is_there(
    life: list[tuple[Rules, int, list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A life is starts, each with its classes, some scrapes, and maintenance after pauses."""
    directory = tmp_path_factory.mktemp("life")
    now_ms = 0
    sure: dict[Labels, dict[int, int]] = {series: {} for series in SERIES}
    written: dict[Labels, dict[int, int]] = {series: {} for series in SERIES}
    for in_force, scrapes, pauses_ms in life:
        default_ms, classes = in_force
        with contextlib.closing(
            EmbeddedStore(
                directory,
                levels_ms=LEVELS_MS,
                sealing_delay_ms=0,
                retention_ms=default_ms,
                retention_classes=classes,
            )
        ) as store:
            for _ in range(scrapes):
                now_ms += 7
                for series in SERIES:
                    store.append_samples(series, [(now_ms, float(now_ms))])
                    sure[series][now_ms] = written[series][now_ms] = bits(float(now_ms))
            for pause_ms in pauses_ms:
                now_ms += pause_ms
                store.maintain(now_ms)
                for series, samples in sure.items():
                    oldest_ms = now_ms - keep_ms(series, in_force)
                    sure[series] = {time_ms: value for time_ms, value in samples.items() if time_ms >= oldest_ms}
            found = {series: dict(samples) for series, samples in read(store, [], 0, EVER_MS).items()}
        for series in SERIES:
            stored = found.get(series, {}).items()
            assert sure[series].items() <= stored
            assert stored <= written[series].items()
