"""Watchdog timers (kernel: Documentation/ABI/testing/sysfs-class-watchdog)."""

import os
from collections.abc import Iterator

from exporter.collectors.sysfs import read_attribute, signed
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family, label_text

# Attribute -> name behind node_watchdog_.
_NUMBERS = {
    "access_cs0": "access_cs0",
    "bootstatus": "bootstatus",
    "fw_version": "fw_version",
    "nowayout": "nowayout",
    "pretimeout": "pretimeout_seconds",
    "timeleft": "timeleft_seconds",
    "timeout": "timeout_seconds",
}
_TEXTS = ["options", "identity", "state", "status", "pretimeout_governor"]


class WatchdogCollector:
    """`node_watchdog_*`."""

    def __init__(self, roots: Roots) -> None:
        self._class = os.fspath(roots.sysfs / "class/watchdog")

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        try:
            yield from self._families(sorted(os.listdir(self._class)))
        except (FileNotFoundError, PermissionError) as error:
            raise NoDataError(f"no watchdog that can be read: {error}") from error

    def _families(self, watchdogs: list[str]) -> list[Family]:
        info = Family("node_watchdog_info", "gauge", "Info of /sys/class/watchdog/<watchdog>")
        numbers = {
            attribute: Family(f"node_watchdog_{name}", "gauge", f"Value of /sys/class/watchdog/<watchdog>/{attribute}")
            for attribute, name in _NUMBERS.items()
        }
        for watchdog in watchdogs:
            labels = label_text(name=watchdog)
            for attribute, family in numbers.items():
                path = f"{self._class}/{watchdog}/{attribute}"
                text = _read_if_there(path)
                if text is not None:
                    family.add(signed(text, path), labels)
            texts = {text: _read_if_there(f"{self._class}/{watchdog}/{text}") or "" for text in _TEXTS}
            info.add(1, label_text(name=watchdog, **texts))
        return [*numbers.values(), info]


def _read_if_there(path: str) -> str | None:
    try:
        return read_attribute(path)
    except FileNotFoundError:
        return None
