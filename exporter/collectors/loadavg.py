"""The load averages (proc_loadavg(5))."""

from collections.abc import Iterator

from exporter.roots import Roots, read_text
from exposition.writer import Family


class LoadavgCollector:
    """`node_load1`, `node_load5`, `node_load15`."""

    def __init__(self, roots: Roots) -> None:
        self._loadavg = roots.procfs / "loadavg"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        averages = read_text(self._loadavg).split()[:3]
        for minutes, average in zip((1, 5, 15), averages, strict=True):
            yield Family(f"node_load{minutes}", "gauge", f"{minutes}m load average.", [("", float(average))])
