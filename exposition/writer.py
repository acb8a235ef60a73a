"""Metric families written as text: what an exporter serves.

A `Family` keeps the line of each sample and nothing else of it. Both formats come from the same families: their
comments differ, their lines do not. OpenMetrics is written without the closing `# EOF`, so that more can follow.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from exposition.formats import Format

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_TOTAL = "_total"


@dataclass(slots=True)
class Family:
    """One metric: `type` is counter, gauge, histogram, summary or unknown.

    A counter is named as its samples are, with `_total`. `lines` are finished sample lines.
    """

    name: str
    type: str
    help: str
    lines: list[str] = field(default_factory=list)

    @classmethod
    def single(cls, name: str, kind: str, help_text: str, value: float, label_text: str = "") -> Self:
        """A family of one sample."""
        family = cls(name, kind, help_text)
        family.add(value, label_text)
        return family

    def add(self, value: float, label_text: str = "") -> None:
        """Add a sample of the family's own name; `label_text` is made by the function of that name."""
        self.lines.append(f"{self.name}{label_text} {number_text(value)}\n")


def label_text(**labels: str) -> str:
    """`{name="value", ...}` with the values escaped. Label names are plain ones."""
    pairs = ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items()])
    return f"{{{pairs}}}"


def write(families: Iterable[Family], body_format: Format) -> bytes:
    """The families in the given format; those without samples are left out."""
    parts: list[str] = []
    for family in families:
        if family.lines:
            parts.append(_comments(family, body_format))
            parts += family.lines
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


def number_text(value: float) -> str:
    """A sample's value as both formats spell it."""
    text = repr(value)
    if "n" not in text:
        return text
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
