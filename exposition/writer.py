"""Metric families written as text: what an exporter serves.

A `Family` keeps, for each sample, the text of its labels and the number; nothing else is made per sample. Both
formats come from the same families. OpenMetrics is written without the closing `# EOF`, so that more can follow.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from exposition.formats import Format

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_TOTAL = "_total"


@dataclass(slots=True)
class Family:
    """One metric: `type` is counter, gauge or unknown. A counter is named as its samples are, with `_total`."""

    name: str
    type: str
    help: str
    samples: list[tuple[str, float]] = field(default_factory=list)

    def add(self, value: float, label_text: str = "") -> None:
        """Add a sample; `label_text` is made by the function of that name."""
        self.samples.append((label_text, value))


def label_text(**labels: str) -> str:
    """`{name="value", ...}` with the values escaped. Label names are plain ones."""
    pairs = ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()])
    return f"{{{pairs}}}"


def write(families: Iterable[Family], body_format: Format) -> bytes:
    """The families in the given format; those without samples are left out."""
    parts: list[str] = []
    for family in families:
        if family.samples:
            parts.append(_comments(family, body_format))
            name = family.name
            parts += [f"{name}{labels} {_number(value)}\n" for labels, value in family.samples]
    # Names from /proc and /sys may hold any byte; what is no UTF-8 must not make the whole body unreadable.
    return "".join(parts).encode("utf-8", "replace")


def _comments(family: Family, body_format: Format) -> str:
    name, kind = family.name, family.type
    help_text = family.help.translate(_HELP_ESCAPES)
    if body_format is Format.TEXT:
        kind = "untyped" if kind == "unknown" else kind
    elif kind == "counter":
        # OpenMetrics takes the suffix off the family's name, and knows no counters without it.
        name, kind = (name.removesuffix(_TOTAL), kind) if name.endswith(_TOTAL) else (name, "unknown")
    return f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"


def _number(value: float) -> str:
    text = repr(value)
    if "n" not in text:
        return text
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
