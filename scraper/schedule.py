"""When a target is scraped: a fixed grid of its interval, moved by its offset. Pure functions, milliseconds."""

import math

ALIGNMENT_TOLERANCE_MS = 2
"""A scrape that starts this little after its tick gets the tick's time (prometheus ScrapeTimestampTolerance)."""

MAX_SLOT_MS = 50
_SLOTS = 20


def slot_ms(interval_ms: int) -> int:
    """How far apart scrapes of an interval start at least, where they do not start together.

    A processor that wakes up for every single scrape finds its caches cold and spends up to three times as long on
    it. Twenty slots an interval or more still spread the load; the times of a target's own scrapes are as even as ever.
    """
    return max(1, min(MAX_SLOT_MS, interval_ms // _SLOTS))


def next_tick_ms(now_ms: float, interval_ms: int, offset_ms: int, last_ms: int | None = None) -> int:
    """The first tick at or after `now_ms`, and after the last scrape.

    A last scrape more than an interval ahead of now means that the clock was set back; it then does not count.
    """
    if last_ms is not None and last_ms <= now_ms + interval_ms:
        now_ms = max(now_ms, last_ms + 1)
    return offset_ms + math.ceil((now_ms - offset_ms) / interval_ms) * interval_ms


def scrape_time_ms(now_ms: float, tick_ms: int, interval_ms: int) -> int:
    """The time that the samples of a scrape get which starts now and was due at the tick.

    Times on the grid compress better and make rates even; but a scrape that is really late says so.
    """
    if 0 <= now_ms - tick_ms <= min(interval_ms / 100, ALIGNMENT_TOLERANCE_MS):
        return tick_ms
    return int(now_ms)
