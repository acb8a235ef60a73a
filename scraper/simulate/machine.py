"""A machine model: what one kind of server exposes, as a text template and the matrices that fill it.

The template holds everything of the body but the moving numbers; those that never move are in its text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scraper.simulate.curves import Vector, basis, integral

GENERATION = "@generation@"
"""Stands in labels for a number that goes up every minute."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family. `decimals` is how many a value is written with."""

    name: str
    type: str
    help: str
    decimals: int = 0


@dataclass(frozen=True, slots=True)
class Series:
    """One series; `level` is the value of a gauge or the rate per second of a counter (scraper.simulate.curves)."""

    family: Family
    labels: str
    level: Vector


class Machine:
    """The body of one machine model, its families in the order of their first series."""

    def __init__(self, series: Iterable[Series]) -> None:
        families: dict[Family, list[Series]] = {}
        for one in series:
            families.setdefault(one.family, []).append(one)
        moving: list[Vector] = []
        counts: list[bool] = []
        lines: list[str] = []
        for family, members in families.items():
            is_counter = family.type == "counter"
            lines.append(f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.type}\n".replace("%", "%%"))
            for one in members:
                labels = f"{{{one.labels}}}" if one.labels else ""
                value = _still_value(one.level, is_counter)
                if value is None:
                    moving.append(integral(one.level) if is_counter else one.level)
                    counts.append(is_counter)
                    lines.append(f"{family.name}{labels} %.{family.decimals}f\n")
                else:
                    lines.append(f"{family.name}{labels} {value:.{family.decimals}f}\n")
        self._template = "".join(lines)
        self._churns = GENERATION in self._template
        self._matrix = np.array(moving).reshape(len(moving), len(basis(0)))
        self._is_counter = np.array(counts, dtype=bool)

    def render(self, time_s: float, boot_s: float, generation: int) -> str:
        """The body at a time; counters began at 0 at boot."""
        now = basis(time_s)
        values = self._matrix @ now
        values -= np.where(self._is_counter, self._matrix @ basis(boot_s), 0.0)
        template = self._template.replace(GENERATION, str(generation)) if self._churns else self._template
        return template % tuple(values.tolist())


def _still_value(level: Vector, is_counter: bool) -> float | None:
    """What a series that never moves shows; None where it moves."""
    if np.any(level[1:]) or (is_counter and level[0]):
        return None
    return float(level[0])


def labels(**pairs: str) -> str:
    """Labels as in the text format; the values need no escapes."""
    return ",".join(f'{name}="{value}"' for name, value in pairs.items())


def total(levels: Sequence[Vector]) -> Vector:
    """The sum of levels."""
    added: Vector = np.sum(levels, axis=0)
    return added
