"""Label sets: the identity of a series, a target or an alert.

A `Labels` is an immutable tuple of `(name, value)` pairs sorted by name. Being a tuple it compares, hashes and
unpacks at C speed, and the pairs themselves can be shared between the series of an index. A label with an empty
value is the same as no label (Prometheus's rule), so none is ever stored.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Self

METRIC_NAME = "__name__"

_LEGACY_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LEGACY_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class Labels(tuple[tuple[str, str], ...]):
    """A sorted, duplicate-free set of label pairs without empty values."""

    __slots__ = ()

    @classmethod
    def of(cls, labels: Mapping[str, str] | Iterable[tuple[str, str]] = (), /, **more: str) -> Self:
        """Build from a mapping or pairs, in any order; later names win, empty values are dropped."""
        merged = dict(labels, **more)
        return cls(sorted((name, value) for name, value in merged.items() if value))

    def get(self, name: str, default: str = "") -> str:
        """The value of a label, or `default` where it is absent."""
        for key, value in self:
            if key == name:
                return value
        return default

    @property
    def metric_name(self) -> str:
        """The `__name__` label, empty where there is none."""
        return self.get(METRIC_NAME)

    def without(self, *names: str) -> Self:
        """The set less the named labels."""
        return type(self)(pair for pair in self if pair[0] not in names)

    def only(self, *names: str) -> Self:
        """The named labels alone."""
        return type(self)(pair for pair in self if pair[0] in names)

    def replace(self, /, **changes: str) -> Self:
        """The set with labels set anew; an empty value removes one."""
        return type(self).of(self, **changes)

    def as_dict(self) -> dict[str, str]:
        """A new plain dictionary, in label order."""
        return dict(self)

    def __str__(self) -> str:
        """PromQL notation: `up{job="node"}`, and `{"my.metric", "a.b"="c"}` for names beyond the legacy set."""
        name = self.metric_name
        plain_name = is_legacy_metric_name(name)
        inside = [] if plain_name or not name else [quote(name)]
        inside += [
            f"{key if is_legacy_label_name(key) else quote(key)}={quote(value)}"
            for key, value in self
            if key != METRIC_NAME
        ]
        prefix = name if plain_name else ""
        return f"{prefix}{{{', '.join(inside)}}}" if inside or not prefix else prefix


EMPTY_LABELS = Labels()


def is_legacy_label_name(name: str) -> bool:
    """Whether a label name needs no quotes."""
    return _LEGACY_LABEL_NAME.fullmatch(name) is not None


def is_legacy_metric_name(name: str) -> bool:
    """Whether a metric name needs no quotes."""
    return _LEGACY_METRIC_NAME.fullmatch(name) is not None


def quote(text: str) -> str:
    """A double-quoted string with the escapes PromQL reads back."""
    return json.dumps(text, ensure_ascii=False)
