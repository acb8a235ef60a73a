"""What can go wrong around a scrape.

ScraperError                root
+-- TargetError             discovered labels make no target: no address, a bad interval, ...
+-- ScrapeError             one scrape failed: connection, status, timeout, limits, format; recorded, not raised
    +-- ScrapeLimitError    one of the job's limits was exceeded
"""

from common.errors import FleetwatchError


class ScraperError(FleetwatchError):
    """Root of the scraper's errors."""


class TargetError(ScraperError):
    """Discovered labels make no target; the message says what is wrong with them."""


class ScrapeError(ScraperError):
    """A scrape failed. The message is what `lastError` of the targets API shows."""


class ScrapeLimitError(ScrapeError):
    """A target delivered more than its job allows.

    `samples` and `kept` count the body's samples before and after relabelling, 0 where that was not found out.
    """

    def __init__(self, message: str, samples: int = 0, kept: int = 0) -> None:
        super().__init__(message)
        self.samples = samples
        self.kept = kept
