"""Traffic and errors of each network device (/proc/net/dev, and sysfs for what it does not tell)."""

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping

import msgspec

from exporter.collectors.lines import parse_lines
from exporter.collectors.sysfs import attribute, devices, number
from exporter.filters import Filter
from exporter.roots import Roots
from exposition.writer import Family, label_text

# The columns of /proc/net/dev in order, by node_exporter's names.
_RECEIVE = ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"]
_TRANSMIT = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"]
_COLUMNS = [f"receive_{name}" for name in _RECEIVE] + [f"transmit_{name}" for name in _TRANSMIT]
_NO_HANDLER = "receive_nohandler"

# The files in sysfs, where all details are asked for; /proc/net/dev has some of these as sums.
_RECEIVE_DETAILS = (
    "bytes compressed crc_errors dropped errors fifo_errors frame_errors length_errors missed_errors nohandler"
    " over_errors packets"
)
_TRANSMIT_DETAILS = (
    "aborted_errors bytes carrier_errors compressed dropped errors fifo_errors heartbeat_errors packets window_errors"
)
_DETAILS = (
    {"collisions": "collisions", "multicast": "multicast"}
    | {f"rx_{name}": f"receive_{name}" for name in _RECEIVE_DETAILS.split()}
    | {f"tx_{name}": f"transmit_{name}" for name in _TRANSMIT_DETAILS.split()}
)

Counters = Mapping[str, int]


class NetdevOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the netdev collector. `netlink` is there for node_exporter's flag: the numbers are the same."""

    device_include: str = ""
    device_exclude: str = ""
    address_info: bool = False
    enable_detailed_metrics: bool = False
    label_ifalias: bool = False
    netlink: bool = True


def netdev_family(statistic: str) -> Family:
    """`node_network_<statistic>_total`, still empty."""
    return Family(f"node_network_{statistic}_total", "counter", f"Network device statistic {statistic}.")


class NetdevCollector:
    """`node_network_receive_*_total`, `node_network_transmit_*_total`, `node_network_address_info`."""

    def __init__(self, roots: Roots, options: NetdevOptions) -> None:
        self._net_dev = roots.procfs / "net/dev"
        self._class = os.fspath(roots.sysfs / "class/net")
        self._devices = Filter(options.device_include, options.device_exclude)
        self._options = options

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        families: dict[str, Family] = {}
        for device, counters in self._read():
            alias = attribute(f"{self._class}/{device}", "ifalias") or "" if self._options.label_ifalias else None
            labels = label_text(device=device, **({} if alias is None else {"ifalias": alias}))
            for statistic, value in counters.items():
                family = families.get(statistic)
                if family is None:
                    family = families[statistic] = netdev_family(statistic)
                family.add(value, labels)
        yield from families.values()
        if self._options.address_info:
            yield self._addresses()

    def _read(self) -> Iterator[tuple[str, Counters]]:
        """The counters of each device that is reported."""
        if self._options.enable_detailed_metrics:
            for device in filter(self._devices.allows, devices(self._class)):
                found = {name: number(f"{self._class}/{device}/statistics", file) for file, name in _DETAILS.items()}
                yield device, {name: value for name, value in found.items() if value is not None}
            return
        for device, counters in parse_lines(self._net_dev, _counters, header=2):
            if self._devices.allows(device):
                no_handler = number(f"{self._class}/{device}/statistics", "rx_nohandler")
                yield device, counters if no_handler is None else {**counters, _NO_HANDLER: no_handler}

    def _addresses(self) -> Family:
        # Imported for those alone who ask for addresses: it takes 4 MB.
        import psutil

        family = Family("node_network_address_info", "gauge", "node network address by device")
        for device, addresses in psutil.net_if_addrs().items():
            for found in addresses if self._devices.allows(device) else ():
                if found.family in (socket.AF_INET, socket.AF_INET6):
                    address = found.address.partition("%")[0]
                    length = _prefix_length(found.netmask or "")
                    scope = _scope(ipaddress.ip_address(address))
                    family.add(1, label_text(address=address, device=device, netmask=str(length), scope=scope))
        return family


def _counters(line: str) -> tuple[str, Counters]:
    device, _, text = line.rpartition(":")
    numbers = text.split()
    if len(numbers) != len(_COLUMNS):
        raise ValueError(f"{len(numbers)} numbers where there should be {len(_COLUMNS)}: {line!r}")
    return device.strip(), dict(zip(_COLUMNS, map(int, numbers), strict=True))


def _prefix_length(netmask: str) -> int:
    return int(ipaddress.ip_address(netmask)).bit_count() if netmask else 0


def _scope(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """As node_exporter names them: what does not leave the host is link-local too."""
    if address.is_loopback or address.is_link_local:
        return "link-local"
    return "interface-local" if address.is_multicast else "global"
