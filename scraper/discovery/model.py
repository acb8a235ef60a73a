"""The interface between discovery and the rest of the scraper."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TargetGroup:
    """Targets with labels in common. `source` names the group in messages and is unique within its discoverer.

    Each target is a mapping of label names to values with at least `__address__`; its labels win over the group's.
    """

    source: str
    targets: Sequence[Mapping[str, str]]
    labels: Mapping[str, str] = field(default_factory=dict)


Publish = Callable[[Sequence[TargetGroup]], None]


class Discoverer(Protocol):
    """One source of target groups."""

    async def run(self, publish: Publish) -> None:
        """Publish the groups now and whenever they change, until cancelled. Returns when they never will again."""
