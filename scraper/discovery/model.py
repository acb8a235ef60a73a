"""The interface between discovery and the rest of the scraper."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from common.yamlfile import Problem
from scraper.discovery.metrics import DiscoveryMetrics
from scraper.discovery.watch import DirectoryWatcher
from scraper.errors import ScraperError


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


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a discoverer may need beside its config: relative files start at `directory`."""

    directory: Path
    watcher: DirectoryWatcher
    metrics: DiscoveryMetrics


class SDConfig(Protocol):
    """An entry of a `*_sd_configs` list. Equal entries are the same source, which keeps running over a reload."""

    def problems(self, path: str) -> Iterator[Problem]:
        """What is wrong with it beyond the types of its fields; `path` is its key path in the file."""

    def discoverer(self, surroundings: Surroundings) -> Discoverer:
        """The discoverer that works as it says."""


class DiscoveryError(ScraperError):
    """A source gave no usable answer; its last targets are kept."""
