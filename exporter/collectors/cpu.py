"""Seconds that each CPU spent in each mode (proc_stat(5), the `cpuN` lines)."""

from collections.abc import Iterator

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

_USER_HZ = 100
"""Ticks per second in /proc, on every architecture that Linux has today."""

MODES = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"]
_GUEST_MODES = ["user", "nice"]


def seconds_family() -> Family:
    """`node_cpu_seconds_total`, still empty."""
    return Family("node_cpu_seconds_total", "counter", "Seconds the CPUs spent in each mode.")


class CpuCollector:
    """`node_cpu_seconds_total`, `node_cpu_guest_seconds_total`."""

    def __init__(self, roots: Roots) -> None:
        self._stat = roots.procfs / "stat"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        seconds = seconds_family()
        guest = Family(
            "node_cpu_guest_seconds_total", "counter", "Seconds the CPUs spent in guests (VMs) for each mode."
        )
        for line in read_text(self._stat).splitlines():
            if not line.startswith("cpu"):
                break
            name, *ticks = line.split()
            cpu = name.removeprefix("cpu")
            if not cpu:
                continue  # The sum of all.
            values = [int(tick) / _USER_HZ for tick in ticks]
            for mode, value in zip(MODES, values, strict=False):
                seconds.add(value, label_text(cpu=cpu, mode=mode))
            for mode, value in zip(_GUEST_MODES, values[len(MODES) :], strict=False):
                guest.add(value, label_text(cpu=cpu, mode=mode))
        yield guest
        yield seconds
