"""Samples as OpenMetrics text with timestamps: what `promtool tsdb create-blocks-from openmetrics` reads.

One line a sample, the time in seconds, the samples of a metric together, `# EOF` at the end; no TYPE lines, because
the store keeps no types. https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md

Staleness markers are left out, as `promtool tsdb dump-openmetrics` does: the format has no word for them.
"""

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
import orjson

from common.labels import METRIC_NAME, Labels, is_legacy_label_name, is_legacy_metric_name
from exposition.writer import number_text
from tsdb.embedded.tools.series_walk import SeriesSamples
from tsdb.model import FloatArray, IntArray, is_stale

_END = b"# EOF\n"
# What is formatted at once, so that a series of years takes no more memory than another.
_SAMPLES_AT_ONCE = 100_000
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def write_openmetrics(series: Iterable[SeriesSamples], out: BinaryIO) -> int:
    """Write all samples and the end; how many they were. Raises OSError."""
    written = 0
    for one in series:
        kept = ~is_stale(one.values)
        times_ms, values = one.times_ms[kept], one.values[kept]
        prefix = series_text(one.labels).encode() + b" "
        for start in range(0, len(values), _SAMPLES_AT_ONCE):
            part = slice(start, start + _SAMPLES_AT_ONCE)
            out.write(_lines(prefix, times_ms[part], values[part]))
        written += len(values)
    out.write(_END)
    return written


def series_text(labels: Labels) -> str:
    """A series as OpenMetrics spells it; names beyond the legacy set in quotes, as Prometheus 3 reads them."""
    name = labels.metric_name
    legacy = is_legacy_metric_name(name)
    pairs = [] if legacy else [_quoted(name)]
    pairs += [
        f"{key if is_legacy_label_name(key) else _quoted(key)}={_quoted(value)}"
        for key, value in labels
        if key != METRIC_NAME
    ]
    return f"{name if legacy else ''}{{{','.join(pairs)}}}"


def _quoted(text: str) -> str:
    return f'"{text.translate(_ESCAPES)}"'


def _lines(prefix: bytes, times_ms: IntArray, values: FloatArray) -> bytes:
    """The lines of one series.

    A JSON writer spells the numbers, many times as fast as Python would; its brackets and commas become the text
    between them. It writes null for NaN and for infinities: the few series that have those go line by line.
    """
    times_s = _seconds(times_ms)
    if np.isinf(values).any():
        return b"".join(
            b"%b%b %b\n" % (prefix, number_text(value).encode(), repr(time_s).encode())
            for value, time_s in zip(values.tolist(), times_s.tolist(), strict=True)
        )
    pairs = orjson.dumps(np.column_stack((values, times_s)), option=orjson.OPT_SERIALIZE_NUMPY)
    # [[1.0,1700000000.0],[2.5,1700000015.5]]: what is one byte is replaced first, the prefix may hold anything.
    rows = pairs[2:-2].replace(b"],[", b"\n").replace(b",", b" ").replace(b"null", b"NaN")
    return prefix + rows.replace(b"\n", b"\n" + prefix) + b"\n"


def _seconds(times_ms: IntArray) -> FloatArray:
    """Seconds that readers, who multiply by 1000 and cut, turn into just these milliseconds.

    The nearest float64 does, but for some times of the first years: 1.001 * 1000 is less than 1001.
    """
    times_s = times_ms / 1000
    less = np.abs(times_s * 1000) < np.abs(times_ms)
    times_s[less] = np.nextafter(times_s[less], np.copysign(np.inf, times_s[less]))
    return times_s
