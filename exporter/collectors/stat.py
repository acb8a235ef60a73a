"""Boot time, interrupts, context switches and processes (proc_stat(5), the lines after the CPUs)."""

from collections.abc import Iterator

import msgspec

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

# Keyword in /proc/stat -> name, type, help.
METRICS = {
    "intr": ("node_intr_total", "counter", "Total number of interrupts serviced."),
    "ctxt": ("node_context_switches_total", "counter", "Total number of context switches."),
    "processes": ("node_forks_total", "counter", "Total number of forks."),
    "btime": ("node_boot_time_seconds", "gauge", "Node boot time, in unixtime."),
    "procs_running": ("node_procs_running", "gauge", "Number of processes in runnable state."),
    "procs_blocked": ("node_procs_blocked", "gauge", "Number of processes blocked waiting for I/O to complete."),
}


# The order of the numbers in the line `softirq`, behind their total (kernel: include/linux/interrupt.h).
_VECTORS = ["hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu"]


class StatOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the stat collector."""

    softirq: bool = False


class StatCollector:
    """`node_boot_time_seconds`, `node_{context_switches,forks,intr}_total`, `node_procs_*`, `node_softirqs_total`."""

    def __init__(self, roots: Roots, options: StatOptions) -> None:
        self._stat = roots.procfs / "stat"
        self._softirq = options.softirq

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        for number, line in enumerate(read_text(self._stat).splitlines(), start=1):
            keyword, _, numbers = line.partition(" ")
            try:
                if keyword in METRICS:
                    # Behind the total of the interrupts stand those of each line.
                    yield Family.single(*METRICS[keyword], int(numbers.split(" ", 1)[0]))
                elif keyword == "softirq" and self._softirq:
                    yield _softirqs([int(count) for count in numbers.split()[1:]])
            except ValueError as error:
                raise ValueError(f"{self._stat}, line {number}: {error}") from error


def _softirqs(counts: list[int]) -> Family:
    family = Family("node_softirqs_total", "counter", "Number of softirq calls.")
    for vector, count in zip(_VECTORS, counts, strict=False):
        family.add(count, label_text(vector=vector))
    return family
