"""What sysfs says of each network device (kernel: Documentation/ABI/testing/sysfs-class-net)."""

import errno
import os
from collections.abc import Iterator

import msgspec

from exporter.errors import NoDataError
from exporter.filters import Filter, shipped
from exporter.roots import Roots
from exposition.writer import Family, label_text

# Attribute in sysfs -> property, which is the name behind node_network_.
_NUMBERS = {
    "addr_assign_type": "address_assign_type",
    "carrier": "carrier",
    "carrier_changes": "carrier_changes_total",
    "carrier_down_count": "carrier_down_changes_total",
    "carrier_up_count": "carrier_up_changes_total",
    "dev_id": "device_id",
    "dormant": "dormant",
    "flags": "flags",
    "ifindex": "iface_id",
    "iflink": "iface_link",
    "link_mode": "iface_link_mode",
    "mtu": "mtu_bytes",
    "name_assign_type": "name_assign_type",
    "netdev_group": "net_dev_group",
    "speed": "speed_bytes",
    "tx_queue_len": "transmit_queue_length",
    "type": "protocol_type",
}
_TEXTS = ["address", "broadcast", "duplex", "ifalias"]
_INFO_HELP = "Non-numeric data from /sys/class/net/<iface>, value is always 1."

_MEGABIT_BYTES = 1_000_000 // 8
_IFF_UP = 1

_NOT_AVAILABLE = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENODEV}
"""Devices lack attributes, or refuse to read one while they are down."""


class NetclassOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the netclass collector. Devices that do not know their speed report -1 Mbit/s."""

    ignored_devices: str = shipped("^$")
    ignore_invalid_speed: bool = False


class NetclassCollector:
    """`node_network_up`, `node_network_info`, `node_network_speed_bytes` and the other properties of devices."""

    def __init__(self, roots: Roots, options: NetclassOptions) -> None:
        self._class = os.fspath(roots.sysfs / "class/net")
        self._devices = Filter(exclude=options.ignored_devices)
        self._ignore_invalid_speed = options.ignore_invalid_speed

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        up = Family("node_network_up", "gauge", "Value is 1 if operstate is 'up', 0 otherwise.")
        info = Family("node_network_info", "gauge", _INFO_HELP)
        numbers = {attribute: _property_family(name) for attribute, name in _NUMBERS.items()}
        for device in self._names():
            try:
                directory = os.open(f"{self._class}/{device}", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue  # Gone since.
            try:
                self._add(device, directory, up, info, numbers)
            finally:
                os.close(directory)
        yield info
        yield up
        yield from numbers.values()

    def _names(self) -> list[str]:
        try:
            with os.scandir(self._class) as entries:
                # bonding_masters is a file.
                names = [entry.name for entry in entries if not entry.is_file(follow_symlinks=False)]
        except (FileNotFoundError, PermissionError) as error:
            raise NoDataError(f"no network devices: {error}") from error
        return [name for name in names if self._devices.allows(name)]

    def _add(self, device: str, directory: int, up: Family, info: Family, numbers: dict[str, Family]) -> None:
        texts = {attribute: _attribute(directory, attribute) or "" for attribute in _TEXTS}
        values = {attribute: self._number(device, directory, attribute) for attribute in numbers}
        operstate = _attribute(directory, "operstate")
        if operstate is None:
            return  # Every device has it: this one is gone by now.
        labels = label_text(device=device)
        up.add(int(operstate == "up"), labels)
        info.add(1, label_text(device=device, operstate=operstate, adminstate=_admin_state(values["flags"]), **texts))
        for attribute, family in numbers.items():
            value = values[attribute]
            if value is not None:
                family.add(value, labels)

    def _number(self, device: str, directory: int, attribute: str) -> int | None:
        text = _attribute(directory, attribute)
        if text is None:
            return None
        try:
            value = int(text, 0)
        except ValueError as error:
            raise ValueError(f"{self._class}/{device}/{attribute}, line 1: {error}") from error
        if attribute != "speed":
            return value
        return None if value < 0 and self._ignore_invalid_speed else value * _MEGABIT_BYTES


def _attribute(directory: int, name: str) -> str | None:
    """The text of a device's attribute; None where it cannot be read.

    Opened from the device's directory, as 25 walks down the whole path take the kernel longer than the reading.
    """
    try:
        file = os.open(name, os.O_RDONLY, dir_fd=directory)
        try:
            return os.read(file, 4096).decode("utf-8", "surrogateescape").strip()
        finally:
            os.close(file)
    except OSError as error:
        if error.errno in _NOT_AVAILABLE:
            return None
        raise


def _property_family(name: str) -> Family:
    kind = "counter" if name.endswith("_total") else "gauge"
    return Family(f"node_network_{name}", kind, f"Network device property: {name}")


def _admin_state(flags: int | None) -> str:
    if flags is None:
        return "unknown"
    return "up" if flags & _IFF_UP else "down"
