"""What can go wrong around a scrape.

ScraperError                root
+-- TargetError             discovered labels make no target: no address, a bad interval, ...
+-- InventoryError          the inventory's file, or a target that cannot be retired
+-- RequestError            an HTTP request got no complete answer: connection, TLS, time, credentials
|   +-- BrokenBodyError     the answer began well, and its body did not
|   +-- BodyTooLargeError   the answer has more bytes than was allowed
+-- ScrapeError             one scrape failed: connection, status, timeout, limits, format; recorded, not raised
    +-- ScrapeLimitError    one of the job's limits was exceeded
        +-- StoreLimitError the store refused new series
"""

from common.errors import FleetwatchError


class ScraperError(FleetwatchError):
    """Root of the scraper's errors."""


class TargetError(ScraperError):
    """Discovered labels make no target; the message says what is wrong with them."""


class RequestError(ScraperError):
    """An HTTP request got no complete answer. The message names method and URL, and what went wrong."""


class BrokenBodyError(RequestError):
    """The body of an answer broke off or cannot be decompressed. The message says only why, as Prometheus's does."""


class BodyTooLargeError(RequestError):
    """The answer's body, decompressed, has more bytes than was allowed."""


class ScrapeError(ScraperError):
    """A scrape failed. The message is what `lastError` of the targets API shows.

    `samples` and `kept` count the samples that were read before the failure, before and after relabelling.
    """

    def __init__(self, message: str, samples: int = 0, kept: int = 0) -> None:
        super().__init__(message)
        self.samples = samples
        self.kept = kept


class ScrapeLimitError(ScrapeError):
    """A target delivered more than its job allows."""


class StoreLimitError(ScrapeLimitError):
    """A target delivered new series that the store has no room for, at this moment."""
