"""NVMe controllers and their namespaces, as /sys/class/nvme has them."""

import os
import re
from collections.abc import Iterator

from exporter.collectors.sysfs import read_attribute, read_unsigned
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family, label_text

_INFO_HELP = "Non-numeric data from /sys/class/nvme/<device>, value is always 1."
_NAMESPACE_INFO_HELP = "Information about NVMe namespaces. Value is always 1"
_CAPACITY_HELP = "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size"
_SIZE_HELP = "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size"
_USED_HELP = "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse"
_BLOCK_HELP = (
    "Logical block size of the NVMe namespace in bytes. Usually 4Kb. "
    "Available in /sys/class/nvme/<device>/<namespace>/queue/logical_block_size"
)
# Namespaces of one controller; those that several controllers share (nvme0c1n1) belong to a subsystem.
_NAMESPACE = re.compile(r"nvme\d+n(\d+)")


class NvmeCollector:
    """`node_nvme_info`, `node_nvme_namespace_*`."""

    def __init__(self, roots: Roots) -> None:
        self._class = os.fspath(roots.sysfs / "class/nvme")

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        try:
            devices = sorted(os.listdir(self._class))
        except FileNotFoundError as error:
            raise NoDataError(f"{self._class} is not there: no NVMe driver") from error
        info = Family("node_nvme_info", "gauge", _INFO_HELP)
        namespaces = _Namespaces()
        for device in devices:
            directory = f"{self._class}/{device}"
            labels = label_text(
                device=device,
                firmware_revision=read_attribute(f"{directory}/firmware_rev"),
                model=read_attribute(f"{directory}/model"),
                serial=read_attribute(f"{directory}/serial"),
                state=read_attribute(f"{directory}/state"),
                cntlid=read_attribute(f"{directory}/cntlid"),
            )
            info.add(1, labels)
            for name in sorted(os.listdir(directory)):
                if match := _NAMESPACE.search(name):
                    namespaces.add(device, match[1], f"{directory}/{name}")
        yield info
        yield from namespaces.families()


class _Namespaces:
    def __init__(self) -> None:
        self._info = Family("node_nvme_namespace_info", "gauge", _NAMESPACE_INFO_HELP)
        self._capacity = Family("node_nvme_namespace_capacity_bytes", "gauge", _CAPACITY_HELP)
        self._size = Family("node_nvme_namespace_size_bytes", "gauge", _SIZE_HELP)
        self._used = Family("node_nvme_namespace_used_bytes", "gauge", _USED_HELP)
        self._block = Family("node_nvme_namespace_logical_block_size_bytes", "gauge", _BLOCK_HELP)

    def add(self, device: str, nsid: str, directory: str) -> None:
        labels = label_text(device=device, nsid=nsid)
        block_bytes = read_unsigned(f"{directory}/queue/logical_block_size")
        # As node_exporter has it, although the kernel counts `size` in sectors of 512 bytes: it is too high by
        # block_bytes / 512 where blocks are larger.
        size_bytes = read_unsigned(f"{directory}/size") * block_bytes
        try:
            ana_state = read_attribute(f"{directory}/ana_state")
        except FileNotFoundError:
            ana_state = "unknown"
        self._info.add(1, label_text(device=device, nsid=nsid, ana_state=ana_state))
        self._capacity.add(size_bytes, labels)
        self._size.add(size_bytes, labels)
        self._used.add(read_unsigned(f"{directory}/nuse") * block_bytes, labels)
        self._block.add(block_bytes, labels)

    def families(self) -> list[Family]:
        return [self._info, self._capacity, self._size, self._used, self._block]
