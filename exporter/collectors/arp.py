"""How many neighbours each network device knows (/proc/net/arp, proc_net(5))."""

from collections import Counter
from collections.abc import Iterator

import msgspec

from exporter.collectors.lines import parse_lines
from exporter.filters import Filter
from exporter.roots import Roots
from exposition.writer import Family, label_text

_COLUMNS = 6
"""IP address, HW type, Flags, HW address, Mask, Device."""


class ArpOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the arp collector. `netlink` is there for node_exporter's flag: the table is the same either way."""

    device_include: str = ""
    device_exclude: str = ""
    netlink: bool = True


class ArpCollector:
    """`node_arp_entries`."""

    def __init__(self, roots: Roots, options: ArpOptions) -> None:
        self._arp = roots.procfs / "net/arp"
        self._devices = Filter(options.device_include, options.device_exclude)

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        entries = Family("node_arp_entries", "gauge", "ARP entries by device")
        for device, count in Counter(parse_lines(self._arp, _device, header=1)).items():
            if self._devices.allows(device):
                entries.add(count, label_text(device=device))
        yield entries


def _device(line: str) -> str:
    columns = line.split()
    if len(columns) != _COLUMNS:
        raise ValueError(f"{len(columns)} columns where there should be {_COLUMNS}: {line!r}")
    return columns[-1]
