"""What the scheduler did on each CPU (kernel: Documentation/scheduler/sched-stats.rst)."""

from collections.abc import Iterator

from exporter.errors import NoDataError
from exporter.roots import Roots, read_text
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
            lines = read_text(self._schedstat).splitlines()
        except FileNotFoundError as error:
            raise NoDataError(f"this kernel has no scheduler statistics: {error}") from error
        families = [Family(f"node_schedstat_{name}", "counter", help_text) for name, _, help_text in _COLUMNS]
        for line in lines:
            if not line.startswith("cpu"):
                continue
            fields = line.split()
            labels = label_text(cpu=fields[0].removeprefix("cpu"))
            for family, number, (_, divisor, _) in zip(families, fields[7:10], _COLUMNS, strict=True):
                family.add(int(number) / divisor, labels)
        yield from families
