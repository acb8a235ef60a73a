"""Traffic and errors of each network device (/proc/net/dev, and sysfs for what has come since)."""

from collections.abc import Iterator

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

# The columns of /proc/net/dev in order, by node_exporter's names.
_RECEIVE = ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"]
_TRANSMIT = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"]
_COLUMNS = [f"receive_{name}" for name in _RECEIVE] + [f"transmit_{name}" for name in _TRANSMIT]
_NO_HANDLER = "receive_nohandler"


def netdev_family(statistic: str) -> Family:
    """`node_network_<statistic>_total`, still empty."""
    return Family(f"node_network_{statistic}_total", "counter", f"Network device statistic {statistic}.")


class NetdevCollector:
    """`node_network_receive_*_total`, `node_network_transmit_*_total`."""

    def __init__(self, roots: Roots) -> None:
        self._net_dev = roots.procfs / "net/dev"
        self._devices = roots.sysfs / "class/net"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        families = [netdev_family(column) for column in _COLUMNS]
        no_handler = netdev_family(_NO_HANDLER)
        for line in read_text(self._net_dev).splitlines()[2:]:
            device, _, numbers = line.rpartition(":")
            labels = label_text(device=device.strip())
            for family, number in zip(families, numbers.split(), strict=True):
                family.add(int(number), labels)
            statistics = self._devices / device.strip() / "statistics/rx_nohandler"
            if statistics.exists():
                no_handler.add(int(read_text(statistics)), labels)
        yield from families
        yield no_handler
