"""Energy that parts of the processor have used (kernel: Documentation/power/powercap/powercap.rst)."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from exporter.collectors.sysfs import read_attribute, read_unsigned
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family, label_text

_MICRO = 1_000_000.0
_NOT_IN_A_NAME = re.compile("_*[^0-9A-Za-z_]+_*")


class RaplOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the rapl collector. With the label all zones share one metric."""

    enable_zone_label: bool = False


@dataclass(frozen=True, slots=True)
class _Zone:
    metric: str
    help: str
    labels: str
    energy: str
    """The path of the counter, in microjoules."""


class RaplCollector:
    """`node_rapl_<zone>_joules_total`, or `node_rapl_joules_total` with a label for the zone."""

    def __init__(self, roots: Roots, options: RaplOptions) -> None:
        self._class = os.fspath(roots.sysfs / "class/powercap")
        self._has_zone_label = options.enable_zone_label
        self._entries: list[str] = []
        self._zones: list[_Zone] = []

    def collect(self) -> Iterator[Family]:
        """See registry.Collector. Since Linux 5.10 only root may read the counters."""
        try:
            yield from self._families()
        except (FileNotFoundError, PermissionError) as error:
            raise NoDataError(f"no energy counter that can be read: {error}") from error

    def _families(self) -> list[Family]:
        entries = sorted(os.listdir(self._class))
        if entries != self._entries:
            self._zones = self._find_zones(entries)
            self._entries = entries
        families: dict[str, Family] = {}
        for zone in self._zones:
            family = families.get(zone.metric)
            if family is None:
                family = families[zone.metric] = Family(zone.metric, "counter", zone.help)
            family.add(read_unsigned(zone.energy) / _MICRO, zone.labels)
        return list(families.values())

    def _find_zones(self, entries: list[str]) -> list[_Zone]:
        zones = []
        seen: Counter[str] = Counter()
        for entry in entries:
            path = f"{self._class}/{entry}"
            try:
                full_name = read_attribute(f"{path}/name")
            except FileNotFoundError:
                continue  # A control type, not a zone.
            name, separator, number = full_name.partition("-")
            if separator and number.isdecimal():
                index = int(number)
            else:
                # Zones such as dram bear no number: they are counted.
                name, index = full_name, seen[full_name]
            seen[name] = index + 1
            zones.append(self._zone(name, index, path))
        return zones

    def _zone(self, name: str, index: int, path: str) -> _Zone:
        energy = f"{path}/energy_uj"
        if self._has_zone_label:
            labels = label_text(index=str(index), path=path, rapl_zone=name)
            return _Zone("node_rapl_joules_total", "Current RAPL value in joules", labels, energy)
        metric = f"node_rapl_{_NOT_IN_A_NAME.sub('_', name)}_joules_total"
        return _Zone(metric, f"Current RAPL {name} value in joules", label_text(index=str(index), path=path), energy)
