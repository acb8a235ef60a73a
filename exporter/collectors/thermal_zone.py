"""Temperatures of the machine's zones, and how hard its coolers work.

Kernel: Documentation/driver-api/thermal/sysfs-api.rst.
"""

import os
from collections.abc import Iterator

from exporter.collectors.sysfs import numbered, read_attribute, signed
from exporter.roots import Roots
from exposition.writer import Family, label_text

_MILLI = 1000.0


class ThermalZoneCollector:
    """`node_thermal_zone_temp`, `node_cooling_device_*`."""

    def __init__(self, roots: Roots) -> None:
        self._class = os.fspath(roots.sysfs / "class/thermal")

    def collect(self) -> Iterator[Family]:
        """See registry.Collector.

        A zone or device that cannot be read is left out. node_exporter 1.11 reports 0 degrees for such a zone, which
        would be a lie.
        """
        temperature = Family("node_thermal_zone_temp", "gauge", "Zone temperature in Celsius")
        for name in numbered(self._class, "thermal_zone"):
            try:
                (millidegrees,), kind = self._read(name, "temp")
            except OSError:
                continue  # EAGAIN, EINVAL and ENODATA are what sensors say that are there but switched off.
            temperature.add(millidegrees / _MILLI, label_text(zone=name.removeprefix("thermal_zone"), type=kind))
        yield temperature

        current = Family("node_cooling_device_cur_state", "gauge", "Current throttle state of the cooling device")
        highest = Family("node_cooling_device_max_state", "gauge", "Maximum throttle state of the cooling device")
        for name in numbered(self._class, "cooling_device"):
            try:
                (state, highest_state), kind = self._read(name, "cur_state", "max_state")
            except OSError:
                continue
            labels = label_text(name=name.removeprefix("cooling_device"), type=kind)
            current.add(state, labels)
            highest.add(highest_state, labels)
        yield current
        yield highest

    def _read(self, name: str, *attributes: str) -> tuple[list[int], str]:
        paths = [f"{self._class}/{name}/{attribute}" for attribute in attributes]
        return [signed(read_attribute(path), path) for path in paths], read_attribute(f"{self._class}/{name}/type")
