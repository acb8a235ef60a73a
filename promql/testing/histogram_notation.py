"""Native histograms in scripts: `{{schema:0 sum:5 count:4 buckets:[1 2 1]}}`, read and written.

All fields may be left out. `buckets` and `n_buckets` are the positive and negative buckets from index `offset` and
`n_offset` on, `z_bucket` and `z_bucket_w` count and threshold of the zero bucket, `custom_values` custom bounds
(Prometheus's documentation, "Unit testing for rules", section "series").
"""

import re
from collections.abc import Mapping

from promql.histograms.model import Histogram, HistogramError, ResetHint
from promql.testing.notation import NotationError, format_point

_FIELD = re.compile(r"\s*(?P<name>[a-z_]+)\s*:\s*(?:\[(?P<list>[^\]]*)\]|(?P<value>[^\s\[\]{}]+))\s*")
_NAMES = frozenset(
    {"schema", "sum", "count", "z_bucket", "z_bucket_w", "buckets", "offset", "n_buckets", "n_offset"}
    | {"custom_values", "counter_reset_hint"}
)
_LISTS = frozenset({"buckets", "n_buckets", "custom_values"})
_HINTS = {"unknown": ResetHint.UNKNOWN, "reset": ResetHint.RESET, "not_reset": ResetHint.NOT_RESET} | {
    "gauge": ResetHint.GAUGE
}
_HINT_NAMES = {hint: name for name, hint in _HINTS.items()}


def parse_histogram(text: str) -> Histogram:
    """Read one histogram, braces included. Raises NotationError."""
    if not (text.startswith("{{") and text.endswith("}}")):
        raise NotationError(f"expected a histogram in {{{{ and }}}}, got {text!r}")
    fields = _fields(text[2:-2], text)
    try:
        hint = fields.get("counter_reset_hint", "unknown")
        if hint not in _HINTS:
            raise NotationError(f"{hint!r} is no counter_reset_hint: write {', '.join(_HINTS)}")
        return Histogram(
            int(fields.get("schema", "0")),
            float(fields.get("count", "0")),
            float(fields.get("sum", "0")),
            float(fields.get("z_bucket_w", "0")),
            float(fields.get("z_bucket", "0")),
            _buckets(fields, "buckets", "offset"),
            _buckets(fields, "n_buckets", "n_offset"),
            tuple(map(float, fields.get("custom_values", "").split())),
            _HINTS[hint],
        )
    except HistogramError as error:
        raise NotationError(f"{error} in {text!r}") from error
    except ValueError as error:
        raise NotationError(f"not a number in {text!r}: {error}") from error


def _fields(inside: str, text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    position = 0
    while inside[position:].strip():
        match = _FIELD.match(inside, position)
        if match is None:
            raise NotationError(f"expected name:value or name:[values], got {inside[position:]!r}")
        name = match["name"]
        if name not in _NAMES or (match["list"] is None) == (name in _LISTS):
            raise NotationError(f"{match[0].strip()!r} is no field of a histogram in {text!r}")
        if name in fields:
            raise NotationError(f"{name!r} is given twice in {text!r}")
        fields[name] = match["value"] if match["list"] is None else match["list"]
        position = match.end()
    return fields


def _buckets(fields: Mapping[str, str], name: str, offset: str) -> dict[int, float]:
    first = int(fields.get(offset, "0"))
    populations = map(float, fields.get(name, "").split())
    return {first + place: population for place, population in enumerate(populations) if population != 0}


def format_histogram(histogram: Histogram) -> str:
    """A histogram that reads back to the same one."""
    fields = [
        f"schema:{histogram.schema}",
        f"count:{format_point(histogram.count)}",
        f"sum:{format_point(histogram.sum)}",
    ]
    if histogram.zero_threshold:
        fields.append(f"z_bucket_w:{format_point(histogram.zero_threshold)}")
    if histogram.zero_count:
        fields.append(f"z_bucket:{format_point(histogram.zero_count)}")
    if histogram.bounds:
        fields.append(f"custom_values:[{' '.join(map(format_point, histogram.bounds))}]")
    if histogram.hint:
        fields.append(f"counter_reset_hint:{_HINT_NAMES[histogram.hint]}")
    fields += _bucket_fields(histogram.positive, "buckets", "offset")
    fields += _bucket_fields(histogram.negative, "n_buckets", "n_offset")
    return f"{{{{{' '.join(fields)}}}}}"


def _bucket_fields(buckets: Mapping[int, float], name: str, offset: str) -> list[str]:
    if not buckets:
        return []
    first = min(buckets)
    populations = " ".join(format_point(buckets.get(index, 0.0)) for index in range(first, max(buckets) + 1))
    return [f"{offset}:{first}"] * (first != 0) + [f"{name}:[{populations}]"]
