"""Time that tasks waited for CPU, I/O and memory (kernel: Documentation/accounting/psi.rst)."""

import errno
from collections.abc import Iterator
from pathlib import Path

from exporter.collectors.lines import parse_lines
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family

# File, line in it, name behind node_pressure_, help. That no CPU time at all is had makes no sense of a whole host,
# and interrupts are never waited for by some tasks only.
_METRICS = [
    ("cpu", "some", "cpu_waiting", "Total time in seconds that processes have waited for CPU time"),
    ("io", "some", "io_waiting", "Total time in seconds that processes have waited due to IO congestion"),
    ("io", "full", "io_stalled", "Total time in seconds no process could make progress due to IO congestion"),
    ("memory", "some", "memory_waiting", "Total time in seconds that processes have waited for memory"),
    (
        "memory",
        "full",
        "memory_stalled",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    ("irq", "full", "irq_stalled", "Total time in seconds no process could make progress due to IRQ congestion"),
]


class PressureCollector:
    """`node_pressure_*_seconds_total`."""

    def __init__(self, roots: Roots) -> None:
        self._pressure = roots.procfs / "pressure"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        totals = {resource: _totals_us(self._pressure / resource) for resource in ("cpu", "io", "memory", "irq")}
        if not any(totals.values()):
            raise NoDataError("this kernel has no pressure stall information (Linux 4.20, CONFIG_PSI)")
        for resource, line, name, help_text in _METRICS:
            of_resource = totals[resource]
            if not of_resource:
                continue
            if line not in of_resource:
                raise NoDataError(f"{self._pressure / resource} has no line {line!r}")
            seconds = of_resource[line] / 1000 / 1000
            yield Family.single(f"node_pressure_{name}_seconds_total", "counter", help_text, seconds)


def _totals_us(path: Path) -> dict[str, int]:
    """The total of each line, `some` and `full`, in microseconds; nothing where the kernel lacks the file."""
    try:
        return dict(parse_lines(path, _total_us))
    except FileNotFoundError:
        return {}
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            raise NoDataError(
                "pressure stall information is off: it takes psi=1 on the kernel's command line"
            ) from error
        raise


def _total_us(line: str) -> tuple[str, int]:
    return line.split(" ", 1)[0], int(line.rpartition("total=")[2])
