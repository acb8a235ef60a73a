"""The series that the server's tests ask for, for our store and as OpenMetrics for a Prometheus."""

import math

from common.labels import Labels
from tsdb.store import Store

START_S = 1_700_000_000
STEP_S = 60

# metric{labels}: its values from START_S on, every STEP_S
_SERIES: list[tuple[str, dict[str, str], list[float]]] = [
    ("up", {"instance": "a:9100", "job": "node"}, [1, 1, 1]),
    ("up", {"instance": "b:9100", "job": "node"}, [0, 0, 1]),
    ("cpu_seconds_total", {"instance": "a:9100", "job": "node", "mode": "idle"}, [10.5, 40.25, 100]),
    ("cpu_seconds_total", {"instance": "a:9100", "job": "node", "mode": "user"}, [1, 2, 3]),
    ("odd", {"kind": "nan"}, [math.nan]),
    ("odd", {"kind": "positive infinity"}, [math.inf]),
    ("odd", {"kind": "negative infinity"}, [-math.inf]),
    ("odd", {"kind": "tiny"}, [1e-9]),
    ("odd", {"kind": "large"}, [1.5e20]),
    ("odd", {"kind": "huge"}, [1.5e25]),
    ("odd", {"kind": "negative zero"}, [-0.0]),
    ("odd", {"kind": 'text <&> "é" \\ 世界'}, [0.1]),
]
SERIES = [(Labels.of({"__name__": name, **labels}), values) for name, labels, values in _SERIES]


def fill(store: Store) -> None:
    """Store the series."""
    for labels, values in SERIES:
        store.append_samples(labels, [((START_S + index * STEP_S) * 1000, value) for index, value in enumerate(values)])


def openmetrics() -> str:
    """The same as OpenMetrics text with times."""
    lines = []
    for labels, values in SERIES:
        inside = ",".join(f"{name}={_quoted(value)}" for name, value in labels.without("__name__"))
        for index, value in enumerate(values):
            lines.append(f"{labels.metric_name}{{{inside}}} {value} {START_S + index * STEP_S}")
    return "\n".join([*lines, "# EOF", ""])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
