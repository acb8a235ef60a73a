"""Boot time, interrupts, context switches and processes (proc_stat(5), the lines after the CPUs)."""

from collections.abc import Iterator

from exporter.roots import Roots, read_text
from exposition.writer import Family

# Keyword in /proc/stat -> name, type, help.
METRICS = {
    "intr": ("node_intr_total", "counter", "Total number of interrupts serviced."),
    "ctxt": ("node_context_switches_total", "counter", "Total number of context switches."),
    "processes": ("node_forks_total", "counter", "Total number of forks."),
    "btime": ("node_boot_time_seconds", "gauge", "Node boot time, in unixtime."),
    "procs_running": ("node_procs_running", "gauge", "Number of processes in runnable state."),
    "procs_blocked": ("node_procs_blocked", "gauge", "Number of processes blocked waiting for I/O to complete."),
}


class StatCollector:
    """`node_boot_time_seconds`, `node_{context_switches,forks,intr}_total`, `node_procs_*`."""

    def __init__(self, roots: Roots) -> None:
        self._stat = roots.procfs / "stat"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        for line in read_text(self._stat).splitlines():
            keyword, _, numbers = line.partition(" ")
            if keyword in METRICS:
                # Behind the total of the interrupts stand those of each line.
                total = int(numbers.split(" ", 1)[0])
                yield Family.single(*METRICS[keyword], total)
