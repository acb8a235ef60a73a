"""What the scheduler did on each CPU (kernel: Documentation/scheduler/sched-stats.rst)."""

from collections.abc import Iterator

from exporter.collectors.lines import integers, parse_lines
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family, label_text

_NS = 1e9
# The last three of the nine numbers of a CPU: name, divisor to the unit in the name, help.
_COLUMNS = [
    ("running_seconds_total", _NS, "Number of seconds CPU spent running a process."),
    ("waiting_seconds_total", _NS, "Number of seconds spent by processing waiting for this CPU."),
    ("timeslices_total", 1, "Number of timeslices executed by CPU."),
]


class SchedstatCollector:
    """`node_schedstat_*`."""

    def __init__(self, roots: Roots) -> None:
        self._schedstat = roots.procfs / "schedstat"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        try:
            cpus = parse_lines(self._schedstat, _cpu)
        except FileNotFoundError as error:
            raise NoDataError(f"this kernel has no scheduler statistics: {error}") from error
        families = [Family(f"node_schedstat_{name}", "counter", help_text) for name, _, help_text in _COLUMNS]
        for cpu, numbers in filter(None, cpus):
            labels = label_text(cpu=cpu)
            for family, number, (_, divisor, _) in zip(families, numbers, _COLUMNS, strict=True):
                family.add(number / divisor, labels)
        yield from families


def _cpu(line: str) -> tuple[str, list[int]] | None:
    """A CPU and its last three numbers; None for the lines that are of no CPU."""
    name, _, numbers = line.partition(" ")
    return (name.removeprefix("cpu"), integers(numbers, 9)[6:9]) if name.startswith("cpu") else None
