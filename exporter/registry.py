"""Runs the collectors: each is timed, and one that fails costs its own metrics and nothing else."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from exporter.collectors.cpu import CpuCollector
from exporter.collectors.diskstats import DiskstatsCollector
from exporter.collectors.filesystem import FilesystemCollector
from exporter.collectors.loadavg import LoadavgCollector
from exporter.collectors.meminfo import MeminfoCollector
from exporter.collectors.netdev import NetdevCollector
from exporter.collectors.stat import StatCollector
from exporter.collectors.time import TimeCollector
from exporter.collectors.uname import UnameCollector
from exporter.roots import Roots
from exposition.writer import Family, label_text

log = logging.getLogger(__name__)


class Collector(Protocol):
    """One group of metrics. Made once with the roots; `collect` is called for each scrape, never twice at a time."""

    def collect(self) -> Iterable[Family]:
        """Read the host. What was yielded before an error does not count.

        Raises OSError, ValueError, LookupError, and RuntimeError as psutil's system calls do.
        """
        ...


COLLECTORS: Mapping[str, Callable[[Roots], Collector]] = {
    "cpu": CpuCollector,
    "diskstats": DiskstatsCollector,
    "filesystem": FilesystemCollector,
    "loadavg": LoadavgCollector,
    "meminfo": MeminfoCollector,
    "netdev": NetdevCollector,
    "stat": StatCollector,
    "time": TimeCollector,
    "uname": UnameCollector,
}
"""All collectors that read /proc and /sys, by the name that node_exporter gives them."""


def make_collectors(roots: Roots, platform: str = sys.platform) -> Mapping[str, Collector]:
    """All collectors for the system, by name."""
    if platform == "linux":
        return {name: make(roots) for name, make in COLLECTORS.items()}
    # Imported here as Linux can do without psutil, and without the memory it takes.
    from exporter.collectors.portable import portable_collectors

    return portable_collectors(roots, platform)


class Registry:
    """The collectors of one exporter. Not thread-safe."""

    def __init__(self, collectors: Mapping[str, Collector]) -> None:
        self._collectors = dict(collectors)

    def collect(self) -> Iterator[Family]:
        """Run all collectors. The last two families tell how long each took and whether it succeeded."""
        duration = Family(
            "node_scrape_collector_duration_seconds", "gauge", "node_exporter: Duration of a collector scrape."
        )
        success = Family("node_scrape_collector_success", "gauge", "node_exporter: Whether a collector succeeded.")
        for name, collector in self._collectors.items():
            start = time.perf_counter()
            families = _try(name, collector)
            labels = label_text(collector=name)
            duration.add(time.perf_counter() - start, labels)
            success.add(int(families is not None), labels)
            yield from families or []
        yield duration
        yield success


def _try(name: str, collector: Collector) -> list[Family] | None:
    try:
        return list(collector.collect())
    except (OSError, ValueError, LookupError, RuntimeError) as error:
        log.error("collector failed", extra={"collector": name, "error": f"{type(error).__name__}: {error}"})
        return None
