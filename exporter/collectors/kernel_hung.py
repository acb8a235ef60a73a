"""Tasks that the kernel found hung (sysctl kernel.hung_task_detect_count, Linux 6.13)."""

from collections.abc import Iterator

from exporter.collectors.lines import parse_lines
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family

_HELP = "Total number of tasks that have been detected as hung since the system booted."


class KernelHungCollector:
    """`node_kernel_hung_tasks_total`."""

    def __init__(self, roots: Roots) -> None:
        self._count = roots.procfs / "sys/kernel/hung_task_detect_count"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        try:
            (count,) = parse_lines(self._count, int)
        except FileNotFoundError as error:
            raise NoDataError(f"this kernel does not count hung tasks: {error}") from error
        yield Family.single("node_kernel_hung_tasks_total", "counter", _HELP, count)
