"""The connection tracking table: how full it is, and what was done with it (nf_conntrack's files in /proc)."""

from collections.abc import Iterator
from pathlib import Path

from exporter.collectors.lines import integers, parse_lines
from exporter.errors import NoDataError
from exporter.roots import Roots, read_text
from exposition.writer import Family

# Column of /proc/net/stat/nf_conntrack -> name, help.
_STATISTICS = {
    2: ("found", "Number of searched entries which were successful."),
    4: ("invalid", "Number of packets seen which can not be tracked."),
    5: ("ignore", "Number of packets seen which are already connected to a conntrack entry."),
    8: ("insert", "Number of entries inserted into the list."),
    9: ("insert_failed", "Number of entries for which list insertion was attempted but failed."),
    10: ("drop", "Number of packets dropped due to conntrack failure."),
    11: (
        "early_drop",
        "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
    ),
    16: ("search_restart", "Number of conntrack table lookups which had to be restarted due to hashtable resizes."),
}
_COLUMNS = 17
_ENTRIES_HELP = "Number of currently allocated flow entries for connection tracking."


class ConntrackCollector:
    """`node_nf_conntrack_*`."""

    def __init__(self, roots: Roots) -> None:
        self._settings = roots.procfs / "sys/net/netfilter"
        self._statistics = roots.procfs / "net/stat/nf_conntrack"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        try:
            entries = _number(self._settings / "nf_conntrack_count")
            limit = _number(self._settings / "nf_conntrack_max")
        except FileNotFoundError as error:
            raise NoDataError(f"connections are not tracked: {error}") from error
        yield Family.single("node_nf_conntrack_entries", "gauge", _ENTRIES_HELP, entries)
        yield Family.single(
            "node_nf_conntrack_entries_limit", "gauge", "Maximum size of connection tracking table.", limit
        )
        try:
            cpus = parse_lines(self._statistics, _row, header=1)
        except FileNotFoundError:
            # Kernels built without CONFIG_NF_CONNTRACK_PROCFS; the table's size is worth having all the same.
            return
        for column, (name, text) in _STATISTICS.items():
            yield Family.single(f"node_nf_conntrack_stat_{name}", "gauge", text, sum(row[column] for row in cpus))


def _row(line: str) -> list[int]:
    """What one CPU counted, in hexadecimal."""
    return integers(line, _COLUMNS, base=16)


def _number(path: Path) -> int:
    text = read_text(path)
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
