"""The kernel's random number generator (random(4), /proc/sys/kernel/random)."""

from collections.abc import Iterator

from exporter.collectors.lines import parse_lines
from exporter.roots import Roots
from exposition.writer import Family


class EntropyCollector:
    """`node_entropy_available_bits`, `node_entropy_pool_size_bits`."""

    def __init__(self, roots: Roots) -> None:
        self._available = roots.procfs / "sys/kernel/random/entropy_avail"
        self._pool_size = roots.procfs / "sys/kernel/random/poolsize"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        (available,) = parse_lines(self._available, int)
        (pool_size,) = parse_lines(self._pool_size, int)
        yield Family.single("node_entropy_available_bits", "gauge", "Bits of available entropy.", available)
        yield Family.single("node_entropy_pool_size_bits", "gauge", "Bits of entropy pool.", pool_size)
