"""What the firmware says the machine is (kernel: Documentation/ABI/testing/sysfs-class-dmi)."""

import os
from collections.abc import Iterator

from exporter.collectors.sysfs import read_attribute
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family, label_text

_LABELS = [
    "bios_date",
    "bios_release",
    "bios_vendor",
    "bios_version",
    "board_asset_tag",
    "board_name",
    "board_serial",
    "board_vendor",
    "board_version",
    "chassis_asset_tag",
    "chassis_serial",
    "chassis_vendor",
    "chassis_version",
    "product_family",
    "product_name",
    "product_serial",
    "product_sku",
    "product_uuid",
    "product_version",
    "system_vendor",
]
_HELP = f"A metric with a constant '1' value labeled by {', '.join(_LABELS)} if provided by DMI."


class DmiCollector:
    """`node_dmi_info`, read once: it changes with a reboot only."""

    def __init__(self, roots: Roots) -> None:
        self._directory = os.fspath(roots.sysfs / "class/dmi/id")
        self._family: Family | None = None

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        if self._family is None:
            self._family = Family.single("node_dmi_info", "gauge", _HELP, 1, label_text(**self._read()))
        yield self._family

    def _read(self) -> dict[str, str]:
        found = {}
        for label in _LABELS:
            try:
                found[label] = read_attribute(f"{self._directory}/{label.replace('system_', 'sys_')}")
            except (FileNotFoundError, PermissionError):
                continue  # Serial numbers are for root only.
        if not found:
            raise NoDataError(f"{self._directory} has nothing to read: no DMI on this machine")
        return found
