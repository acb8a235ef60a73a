"""Every field of /proc/meminfo, in bytes where the kernel gives kB (proc_meminfo(5))."""

import re
from collections.abc import Iterator

from exporter.collectors.lines import parse_lines
from exporter.roots import Roots
from exposition.writer import Family

_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]+")


def memory_family(name: str, value: float) -> Family:
    """`node_memory_<name>`; as in node_exporter, a counter where the name says so."""
    kind = "counter" if name.endswith("_total") else "gauge"
    return Family.single(f"node_memory_{name}", kind, f"Memory information field {name}.", value)


class MeminfoCollector:
    """`node_memory_*`."""

    def __init__(self, roots: Roots) -> None:
        self._meminfo = roots.procfs / "meminfo"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        yield from parse_lines(self._meminfo, _family)


def _family(line: str) -> Family:
    field, _, amount = line.partition(":")
    number, *unit = amount.split()
    # Active(anon) becomes Active_anon.
    name = _NOT_IN_NAMES.sub("_", field).strip("_")
    value = int(number)
    return memory_family(f"{name}_bytes", value * 1024) if unit == ["kB"] else memory_family(name, value)
