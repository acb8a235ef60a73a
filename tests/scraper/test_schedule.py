"""The scrape grid."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scraper.schedule import next_tick_ms, scrape_time_ms, slot_ms

times = st.integers(min_value=0, max_value=2**41)
intervals = st.integers(min_value=1, max_value=3_600_000)


@given(times, intervals, st.data())
def test_ticks_are_on_the_grid_and_within_an_interval(now: int, interval: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(min_value=0, max_value=interval - 1))
    tick = next_tick_ms(now, interval, offset)
    assert now <= tick < now + interval
    assert tick % interval == offset


@given(times, intervals, st.data())
def test_every_tick_comes_once(start: int, interval: int, data: st.DataObject) -> None:
    offset = data.draw(st.integers(min_value=0, max_value=interval - 1))
    tick = next_tick_ms(start, interval, offset)
    following = next_tick_ms(tick, interval, offset, tick)
    assert following == tick + interval
    assert next_tick_ms(tick - 0.3, interval, offset, tick) == following, "a timer that fired early"


def test_late_scrapes_leave_ticks_out() -> None:
    assert next_tick_ms(10_500, 1000, 200, last_ms=8200) == 11_200


def test_a_clock_that_was_set_back_does_not_stop_scraping() -> None:
    assert next_tick_ms(5_000_100, 1000, 200, last_ms=9_000_200) == 5_000_200


def test_scrapes_within_the_tolerance_get_the_time_of_their_tick() -> None:
    assert scrape_time_ms(1_000_000, 1_000_000, 15_000) == 1_000_000
    assert scrape_time_ms(1_000_001.9, 1_000_000, 15_000) == 1_000_000
    assert scrape_time_ms(1_000_002.5, 1_000_000, 15_000) == 1_000_002
    # The tolerance is at most a hundredth of the interval.
    assert scrape_time_ms(1_000_001.9, 1_000_000, 100) == 1_000_001


@pytest.mark.parametrize(
    ("interval_ms", "slot"), [(10, 1), (100, 5), (500, 25), (1_000, 50), (15_000, 50), (86_400_000, 50)]
)
def test_an_interval_has_twenty_slots_or_more(interval_ms: int, slot: int) -> None:
    assert slot_ms(interval_ms) == slot
