"""From the labels that a target exposes to those that are stored: target labels, metric relabelling, limits.

Follows prometheus scrape/scrape.go mutateSampleLabels and verifyLabelLimits.
"""

import re
from collections.abc import Sequence

from common.labels import METRIC_NAME, Labels, is_legacy_label_name, is_legacy_metric_name, quote
from scraper.config import ScrapeConfig
from scraper.errors import ScrapeError, ScrapeLimitError
from scraper.relabel import compile_rules, relabel

# Stands for an empty label value from the body to `SeriesRules.apply`: label sets hold no empty values, but where
# labels are honoured, one that is exposed as empty keeps the target's away (what /federate relies on).
_EMPTY_MARK = "\U0010ffff"


class SeriesRules:
    """How a job makes stored series of exposed ones, for one target. `job` is resolved."""

    def __init__(self, job: ScrapeConfig, target_labels: Labels) -> None:
        self._target_labels = target_labels
        self._target_names = frozenset(name for name, _ in target_labels)
        self._honor_labels = job.honor_labels
        self._rules = compile_rules(job.metric_relabel_configs)
        self._legacy_names = job.metric_name_validation_scheme == "legacy"
        self._limits = (job.label_limit, job.label_name_length_limit, job.label_value_length_limit)
        names = b"|".join(re.escape(name.encode()) for name, _ in target_labels)
        self._empty_label = re.compile(rb'([{,]\s*"?(?:' + names + rb')"?\s*=\s*)""')

    @property
    def empty_value(self) -> str:
        """What stands for an empty value between the protobuf reader and `apply`: see `_EMPTY_MARK`."""
        return _EMPTY_MARK if self._honor_labels else ""

    def mark_empty_labels(self, body: bytes) -> bytes:
        """Make empty values of labels that matter survive the parser: see `_EMPTY_MARK`."""
        if not self._honor_labels or b'""' not in body:
            return body
        return self._empty_label.sub(rb'\1"' + _EMPTY_MARK.encode() + b'"', body)

    def apply(self, exposed: Labels) -> Labels | None:
        """The labels to store, None where relabelling drops the series.

        Raises ScrapeError where they are no series, ScrapeLimitError where they exceed a limit of the job.
        """
        merged = self._honoured(exposed) if self._honor_labels else self._with_target_labels(exposed)
        labels = relabel(merged, self._rules)
        if not labels:
            return None
        self._check(labels)
        return labels

    def _honoured(self, exposed: Labels) -> Labels:
        merged = dict(self._target_labels)
        merged.update(exposed)
        return Labels.of({name: value for name, value in merged.items() if value != _EMPTY_MARK})

    def _with_target_labels(self, exposed: Labels) -> Labels:
        merged = dict(exposed)
        if self._target_names.isdisjoint(merged):
            return Labels(sorted(exposed + self._target_labels))
        conflicting = sorted(
            ((name, merged[name]) for name, _ in self._target_labels if name in merged),
            key=lambda pair: len(pair[0]),
        )
        merged.update(self._target_labels)
        for name, value in conflicting:
            new_name = f"exported_{name}"
            while new_name in merged:
                new_name = f"exported_{new_name}"
            merged[new_name] = value
        return Labels.of(merged)

    def _check(self, labels: Labels) -> None:
        name = labels.metric_name
        if not name:
            raise ScrapeError(f"missing metric name (__name__ label) after relabelling: {labels}")
        if self._legacy_names and not (
            is_legacy_metric_name(name)
            and all(is_legacy_label_name(label) for label, _ in labels if label != METRIC_NAME)
        ):
            raise ScrapeError(f"invalid metric name or label names: {_all_pairs(labels)}")
        if any(self._limits):
            _check_limits(labels, name[:50], *self._limits)


def _all_pairs(labels: Labels) -> str:
    """As Prometheus shows a label set in this message: the metric's name is a label like the others."""
    pairs = [f"{name if is_legacy_label_name(name) else quote(name)}={quote(value)}" for name, value in labels]
    return f"{{{', '.join(pairs)}}}"


def _check_limits(labels: Labels, metric: str, count_limit: int, name_limit: int, value_limit: int) -> None:
    if count_limit and len(labels) > count_limit:
        raise ScrapeLimitError(
            f"label_limit exceeded (metric: {metric}, number of labels: {len(labels)}, limit: {count_limit})"
        )
    for name, value in labels:
        name_length, value_length = len(name.encode()), len(value.encode())
        if name_limit and name_length > name_limit:
            raise ScrapeLimitError(
                f"label_name_length_limit exceeded (metric: {metric}, label name: {name[:50]}, "
                f"length: {name_length}, limit: {name_limit})"
            )
        if value_limit and value_length > value_limit:
            raise ScrapeLimitError(
                f"label_value_length_limit exceeded (metric: {metric}, label name: {name[:50]}, "
                f'value: "{value[:50]}", length: {value_length}, limit: {value_limit})'
            )


REPORT_NAMES: Sequence[str] = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
"""The series that every scrape adds."""

EXTRA_REPORT_NAMES: Sequence[str] = ("scrape_timeout_seconds", "scrape_sample_limit", "scrape_body_size_bytes")
"""Those that `extra_scrape_metrics` adds to them."""

REFUSED_NAME = "scrape_series_refused"
"""How many series were refused: for a job that keeps known series at a limit."""


def report_names(job: ScrapeConfig) -> tuple[str, ...]:
    """The report series that a job has, in the order of a report's values. `job` is resolved."""
    return (
        *REPORT_NAMES,
        *(EXTRA_REPORT_NAMES if job.extra_scrape_metrics else ()),
        *((REFUSED_NAME,) if job.sample_limit_action == "keep_known" else ()),
    )


def report_series(job: ScrapeConfig, target_labels: Labels) -> list[Labels]:
    """The labels of the report series of a target."""
    return [Labels.of(target_labels, **{METRIC_NAME: name}) for name in report_names(job)]
