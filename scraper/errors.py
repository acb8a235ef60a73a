"""What can go wrong around a scrape.

ScraperError                root
+-- TargetError             discovered labels make no target: no address, a bad interval, ...
+-- InventoryError          the inventory's file, or a target that cannot be retired
+-- RequestError            an HTTP request got no complete answer: connection, TLS, time, credentials
|   +-- BodyTooLargeError   the answer has more bytes than was allowed
+-- ScrapeError             one scrape failed: connection, status, timeout, limits, format; recorded, not raised
    +-- ScrapeLimitError    one of the job's limits was exceeded
"""

from common.errors import FleetwatchError


class ScraperError(FleetwatchError):
    """Root of the scraper's errors."""


class TargetError(ScraperError):
    """Discovered labels make no target; the message says what is wrong with them."""


class RequestError(ScraperError):
    """An HTTP request got no complete answer. The message names method and URL, and what went wrong."""


class BodyTooLargeError(RequestError):
    """The answer's body, decompressed, has more bytes than was allowed."""


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
