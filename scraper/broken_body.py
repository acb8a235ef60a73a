"""What is said of a body that cannot be taken: Prometheus counts the samples before the failure, and so do we."""

from exposition.errors import ExpositionError, TextError
from exposition.formats import Format, parse
from exposition.model import Sample
from scraper.errors import ScrapeError, ScrapeLimitError
from scraper.series import SeriesRules


def failure_of(
    error: ExpositionError | ScrapeError, body: bytes, body_format: Format, rules: SeriesRules
) -> ScrapeError:
    """The failure with its counts, for what was raised for the body.

    It is another one where a sample before the place of the error exceeds a limit or is no series.
    """
    kept = 0
    samples = _readable(error, rules.mark_empty_labels(body), body_format)
    for count, sample in enumerate(samples, start=1):
        try:
            kept += rules.apply(sample.labels) is not None
        except ScrapeLimitError as limit:
            return ScrapeLimitError(str(limit), count, kept)
        except ScrapeError as no_series:
            return ScrapeError(str(no_series), count, kept)
    return ScrapeError(str(error), len(samples), kept)


def _readable(error: ExpositionError | ScrapeError, body: bytes, body_format: Format) -> list[Sample]:
    if isinstance(error, ExpositionError):
        if not isinstance(error, TextError):
            return []  # what has no lines breaks as a whole
        rest = body.split(b"\n", error.line - 1)[-1] if error.line > 1 else body
        body = body[: len(body) - len(rest)]
        if body_format is Format.OPENMETRICS and not body.endswith(b"# EOF\n"):
            body += b"# EOF\n"
    return parse(body, body_format).samples if body else []
