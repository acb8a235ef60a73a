"""Packets that each CPU took from the network devices (/proc/net/softnet_stat; kernel: net/core/net-procfs.c)."""

from collections.abc import Iterator

from exporter.collectors.lines import integers, parse_lines
from exporter.roots import Roots
from exposition.writer import Family, label_text

# Column -> name, type, help.
_COLUMNS = {
    0: ("node_softnet_processed_total", "counter", "Number of processed packets"),
    1: ("node_softnet_dropped_total", "counter", "Number of dropped packets"),
    2: ("node_softnet_times_squeezed_total", "counter", "Number of times processing packets ran out of quota"),
    8: (
        "node_softnet_cpu_collision_total",
        "counter",
        "Number of collision occur while obtaining device lock while transmitting",
    ),
    9: ("node_softnet_received_rps_total", "counter", "Number of times cpu woken up received_rps"),
    10: ("node_softnet_flow_limit_count_total", "counter", "Number of times flow limit has been reached"),
    11: ("node_softnet_backlog_len", "gauge", "Softnet backlog status"),
}
_CPU_COLUMN = 12
_MIN_COLUMNS = 9


class SoftnetCollector:
    """`node_softnet_*`."""

    def __init__(self, roots: Roots) -> None:
        self._softnet_stat = roots.procfs / "net/softnet_stat"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        families = {column: Family(*texts) for column, texts in _COLUMNS.items()}
        for position, row in enumerate(parse_lines(self._softnet_stat, _row)):
            # Linux before 5.10 has fewer columns, and a line for each CPU instead of the CPU's number.
            labels = label_text(cpu=str(row[_CPU_COLUMN] if len(row) > _CPU_COLUMN else position))
            for column, family in families.items():
                family.add(row[column] if column < len(row) else 0, labels)
        yield from families.values()


def _row(line: str) -> list[int]:
    return integers(line, _MIN_COLUMNS, base=16)
