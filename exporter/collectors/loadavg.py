"""The load averages (proc_loadavg(5))."""

from collections.abc import Iterable, Iterator

from exporter.collectors.lines import parse_lines
from exporter.roots import Roots
from exposition.writer import Family


def load_families(averages: Iterable[float]) -> Iterator[Family]:
    """The averages over 1, 5 and 15 minutes as families."""
    for minutes, average in zip((1, 5, 15), averages, strict=True):
        yield Family.single(f"node_load{minutes}", "gauge", f"{minutes}m load average.", average)


class LoadavgCollector:
    """`node_load1`, `node_load5`, `node_load15`."""

    def __init__(self, roots: Roots) -> None:
        self._loadavg = roots.procfs / "loadavg"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        (averages,) = parse_lines(self._loadavg, lambda line: [float(average) for average in line.split()[:3]])
        yield from load_families(averages)
