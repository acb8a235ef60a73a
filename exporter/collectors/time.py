"""The system's clock, its offset to UTC and its clock sources."""

import time
from collections.abc import Iterator

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text


class TimeCollector:
    """`node_time_seconds`, `node_time_zone_offset_seconds`, `node_time_clocksource_*_info`."""

    def __init__(self, roots: Roots) -> None:
        self._clocksources = roots.sysfs / "devices/system/clocksource"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        now = time.time()
        local = time.localtime(now)
        yield Family.single("node_time_seconds", "gauge", "System time in seconds since epoch (1970).", now)
        yield Family.single(
            "node_time_zone_offset_seconds",
            "gauge",
            "System time zone offset in seconds.",
            local.tm_gmtoff,
            label_text(time_zone=local.tm_zone),
        )
        yield from self._collect_clocksources()

    def _collect_clocksources(self) -> Iterator[Family]:
        available = Family(
            "node_time_clocksource_available_info",
            "gauge",
            "Available clocksources read from '/sys/devices/system/clocksource'.",
        )
        current = Family(
            "node_time_clocksource_current_info",
            "gauge",
            "Current clocksource read from '/sys/devices/system/clocksource'.",
        )
        for directory in sorted(self._clocksources.glob("clocksource[0-9]*")):
            device = directory.name.removeprefix("clocksource")
            for name in read_text(directory / "available_clocksource").split():
                available.add(1, label_text(clocksource=name, device=device))
            current.add(1, label_text(clocksource=read_text(directory / "current_clocksource").strip(), device=device))
        yield available
        yield current
