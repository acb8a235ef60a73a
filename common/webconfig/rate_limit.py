"""A token bucket, as Go's golang.org/x/time/rate keeps it."""

from collections.abc import Callable

from common.webconfig.schema import RateLimit


class TokenBucket:
    """Starts full with `burst` tokens and gains one every `interval`; `clock` gives monotonic seconds."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float]) -> None:
        self._interval_s = float(limit.interval)
        self._burst = limit.burst
        self._clock = clock
        self._tokens = float(limit.burst)
        self._counted_at = clock()

    def take(self) -> bool:
        """Whether there was a token to take."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._counted_at) / self._interval_s)
        self._counted_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
