"""Warnings and infos of a query, in the words of prometheus util/annotations."""

from common.labels import quote
from promql.numbers import format_general
from promql.syntax.errors import line_and_column


class Annotations:
    """Collects the annotations of one query, each text once, with the place where it occurred last."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._warnings: dict[str, int] = {}
        self._infos: dict[str, int] = {}

    @property
    def warnings(self) -> list[str]:
        """Complete texts, in order."""
        return [f"PromQL warning: {text}{self._place(position)}" for text, position in self._warnings.items()]

    @property
    def infos(self) -> list[str]:
        """Complete texts, in order."""
        return [f"PromQL info: {text}{self._place(position)}" for text, position in self._infos.items()]

    def invalid_quantile(self, quantile: float, position: int) -> None:
        """A quantile that is NaN or outside [0, 1]."""
        got = format_general(quantile)
        self._warn(f"quantile value should be between 0 and 1, got {got}", position)

    def invalid_ratio(self, ratio: float, used: float, position: int) -> None:
        """A ratio of limit_ratio outside [-1, 1]."""
        got, capped = format_general(ratio), format_general(used)
        self._warn(f"ratio value should be between -1 and 1, got {got}, capping to {capped}", position)

    def bad_bucket_label(self, value: str, metric_name: str, position: int) -> None:
        """A classic bucket without a number in its `le`."""
        text = f'bucket label "le" is missing or has a malformed value of {quote(value)}'
        self._warn(text + _for_metric(metric_name), position)

    def possible_non_counter(self, metric_name: str, position: int) -> None:
        """A rate of what is not named like a counter."""
        text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
        self._inform(text + quote(metric_name), position)

    def incompatible_types(self, lhs: str, op: str, rhs: str, position: int) -> None:
        """An operator that is not defined between the types of two samples, "float" or "histogram"."""
        text = f"incompatible sample types encountered for binary operator {quote(op)}: {lhs} {op} {rhs}"
        self._inform(text, position)

    def forced_monotonicity(self, metric_name: str, position: int) -> None:
        """Cumulative buckets that decrease."""
        text = (
            "input to histogram_quantile needed to be fixed for monotonicity "
            "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"
        )
        self._inform(text + _for_metric(metric_name), position)

    def _warn(self, text: str, position: int) -> None:
        self._warnings[text] = position

    def _inform(self, text: str, position: int) -> None:
        self._infos[text] = position

    def _place(self, position: int) -> str:
        return f" ({line_and_column(self._source, position)})"


def _for_metric(metric_name: str) -> str:
    return f" for metric name {quote(metric_name)}" if metric_name else ""
