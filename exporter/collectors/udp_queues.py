"""Bytes that wait in the queues of all UDP sockets (/proc/net/udp and udp6, proc_net(5))."""

from collections.abc import Iterator

from exporter.collectors.lines import parse_lines
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family, label_text

_QUEUES_COLUMN = 4
_EMPTY = "00000000:00000000"
_HELP = "Number of allocated memory in the kernel for UDP datagrams in bytes."


class UdpQueuesCollector:
    """`node_udp_queues`."""

    def __init__(self, roots: Roots) -> None:
        self._files = {"v4": roots.procfs / "net/udp", "v6": roots.procfs / "net/udp6"}

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        family = Family("node_udp_queues", "gauge", _HELP)
        for version, path in self._files.items():
            try:
                queues = parse_lines(path, _queues, header=1)
            except FileNotFoundError:
                continue
            family.add(sum(sent for sent, _ in queues), label_text(ip=version, queue="tx"))
            family.add(sum(received for _, received in queues), label_text(ip=version, queue="rx"))
        if not family.lines:
            raise NoDataError("neither /proc/net/udp nor udp6 is there")
        yield family


def _queues(line: str) -> tuple[int, int]:
    """The bytes to send and those received but not read, of one socket."""
    columns = line.split(None, _QUEUES_COLUMN + 1)
    if len(columns) <= _QUEUES_COLUMN:
        raise ValueError(f"{len(columns)} columns where there should be more than {_QUEUES_COLUMN}: {line!r}")
    queues = columns[_QUEUES_COLUMN]
    if queues == _EMPTY:
        return 0, 0
    sent, colon, received = queues.partition(":")
    if not colon:
        raise ValueError(f"no pair of queues: {queues!r}")
    return int(sent, 16), int(received, 16)
