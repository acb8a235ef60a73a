"""All collectors that read /proc and /sys, by node_exporter's names. A new one is a module and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from exporter.collectors.cpu import CpuCollector
from exporter.collectors.diskstats import DiskstatsCollector
from exporter.collectors.filesystem import FilesystemCollector
from exporter.collectors.loadavg import LoadavgCollector
from exporter.collectors.meminfo import MeminfoCollector
from exporter.collectors.netdev import NetdevCollector
from exporter.collectors.stat import StatCollector
from exporter.collectors.time import TimeCollector
from exporter.collectors.uname import UnameCollector
from exporter.registry import Collector
from exporter.roots import Roots


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For collectors that have nothing to set."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a collector is made, what can be set, and whether it runs by default. Making raises ValueError."""

    make: Callable[[Roots, Any], Collector]
    options: type[msgspec.Struct]
    enabled: bool


_Options = TypeVar("_Options", bound=msgspec.Struct)


def _kind(make: Callable[[Roots], Collector], *, enabled: bool = True) -> Kind:
    return Kind(lambda roots, _options: make(roots), NoOptions, enabled)


def _kind_with(options: type[_Options], make: Callable[[Roots, _Options], Collector], *, enabled: bool = True) -> Kind:
    return Kind(make, options, enabled)


COLLECTORS: Mapping[str, Kind] = {
    "cpu": _kind(CpuCollector),
    "diskstats": _kind(DiskstatsCollector),
    "filesystem": _kind(FilesystemCollector),
    "loadavg": _kind(LoadavgCollector),
    "meminfo": _kind(MeminfoCollector),
    "netdev": _kind(NetdevCollector),
    "stat": _kind(StatCollector),
    "time": _kind(TimeCollector),
    "uname": _kind(UnameCollector),
}
