"""The collectors of systems without /proc: what psutil reads there, under the names that Linux has.

One dashboard then suits every host. Memory stands under the system's own names in node_exporter besides, as those
share none with Linux. What psutil does not know is left out; CPU time in interrupts is `irq`, for which node_exporter
says `interrupt` on BSD.

Plan: a function for each group of metrics makes families of what psutil read; `portable_collectors` joins the two.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

from exporter.collectors.cpu import MODES, seconds_family
from exporter.collectors.diskstats import COLUMNS, EXCLUDED_DEVICES
from exporter.collectors.filesystem import FilesystemCollector, FilesystemOptions, Mount
from exporter.collectors.loadavg import load_families
from exporter.collectors.meminfo import memory_family
from exporter.collectors.netdev import netdev_family
from exporter.collectors.stat import METRICS
from exporter.collectors.time import TimeCollector
from exporter.collectors.uname import uname_family
from exporter.filters import Filter
from exporter.roots import Roots
from exposition.writer import Family, label_text

Fields = Mapping[str, float]
"""What a named tuple of psutil holds; which fields there are depends on the system."""

# Name behind node_memory_ -> field of psutil.virtual_memory(), or of psutil.swap_memory() with "swap_" before it.
_LINUX_MEMORY = {
    "MemTotal_bytes": "total",
    "MemAvailable_bytes": "available",
    "MemFree_bytes": "free",
    "SwapTotal_bytes": "swap_total",
    "SwapFree_bytes": "swap_free",
}
_COMMON_MEMORY = {
    "active_bytes": "active",
    "free_bytes": "free",
    "inactive_bytes": "inactive",
    "swap_used_bytes": "swap_used",
    "wired_bytes": "wired",
}
DARWIN_MEMORY = {
    **_LINUX_MEMORY,
    **_COMMON_MEMORY,
    "swap_total_bytes": "swap_total",
    "swapped_in_bytes_total": "swap_sin",
    "swapped_out_bytes_total": "swap_sout",
    "total_bytes": "total",
}
BSD_MEMORY = {
    **_LINUX_MEMORY,
    **_COMMON_MEMORY,
    "buffer_bytes": "buffers",
    "cache_bytes": "cached",
    "size_bytes": "total",
    "swap_size_bytes": "swap_total",
}

# Field of psutil.disk_io_counters() -> name behind node_disk_ and factor to its unit.
_DISK_FIELDS = {
    "read_count": ("reads_completed_total", 1),
    "read_merged_count": ("reads_merged_total", 1),
    "read_bytes": ("read_bytes_total", 1),
    "read_time": ("read_time_seconds_total", 0.001),
    "write_count": ("writes_completed_total", 1),
    "write_merged_count": ("writes_merged_total", 1),
    "write_bytes": ("written_bytes_total", 1),
    "write_time": ("write_time_seconds_total", 0.001),
    "busy_time": ("io_time_seconds_total", 0.001),
}
_DISK_TEXTS = {name: (kind, text) for name, kind, _, text in COLUMNS}

# Field of psutil.cpu_stats() -> name behind node_exec_ and what is counted.
_EXEC_FIELDS = {
    "ctx_switches": ("context_switches", "context switches"),
    "interrupts": ("device_interrupts", "device interrupts"),
    "soft_interrupts": ("software_interrupts", "software interrupts"),
    "syscalls": ("system_calls", "system calls"),
}
_EXEC_HELP = "Number of {} since system boot.  Resets at architecture unsigned integer."

# Field of psutil.net_io_counters() -> statistic.
_NETDEV_FIELDS = {
    "bytes_recv": "receive_bytes",
    "packets_recv": "receive_packets",
    "errin": "receive_errs",
    "dropin": "receive_drop",
    "bytes_sent": "transmit_bytes",
    "packets_sent": "transmit_packets",
    "errout": "transmit_errs",
    "dropout": "transmit_drop",
}


def cpu(times: Iterable[Fields]) -> Iterator[Family]:
    """`node_cpu_seconds_total` from the times of each CPU."""
    family = seconds_family()
    for number, seconds in enumerate(times):
        for mode in MODES:
            if mode in seconds:
                family.add(seconds[mode], label_text(cpu=str(number), mode=mode))
    yield family


def diskstats(disks: Mapping[str, Fields]) -> Iterator[Family]:
    """`node_disk_*` from the counters of each disk."""
    reported = Filter(exclude=EXCLUDED_DEVICES)
    counters = {disk: fields for disk, fields in disks.items() if reported.allows(disk)}
    for field, (name, factor) in _DISK_FIELDS.items():
        family = Family(f"node_disk_{name}", *_DISK_TEXTS[name])
        for disk, fields in counters.items():
            if field in fields:
                family.add(fields[field] * factor, label_text(device=disk))
        yield family


def meminfo(names: Mapping[str, str], memory: Fields, swap: Fields) -> Iterator[Family]:
    """`node_memory_*` under the given names, less those that the system does not tell."""
    fields = {**memory, **{f"swap_{field}": value for field, value in swap.items()}}
    for name, field in names.items():
        if field in fields:
            yield memory_family(name, fields[field])


def netdev(devices: Mapping[str, Fields]) -> Iterator[Family]:
    """`node_network_*` from the counters of each device."""
    for field, statistic in _NETDEV_FIELDS.items():
        family = netdev_family(statistic)
        for device, fields in devices.items():
            family.add(fields[field], label_text(device=device))
        yield family


def executions(counts: Fields) -> Iterator[Family]:
    """`node_exec_*_total`: what a BSD kernel counts, as far as psutil tells it."""
    for field, (name, what) in _EXEC_FIELDS.items():
        if field in counts:
            yield Family.single(f"node_exec_{name}_total", "counter", _EXEC_HELP.format(what), counts[field])


def mounts() -> Iterator[Mount]:
    """What is mounted, without the devices' numbers, which only Linux tells."""
    for part in psutil.disk_partitions(all=True):
        yield Mount(part.device, part.mountpoint, part.fstype, "", "", "ro" in part.opts.split(","))


def filesystem(collector: FilesystemCollector) -> Iterator[Family]:
    """`node_filesystem_*`, without what could be purged, which only macOS's own libraries tell."""
    for family in collector.collect():
        if family.name != "node_filesystem_purgeable_bytes":
            yield family


def uname(nodename: str) -> Family:
    """`node_uname_info`; the domain is taken from the host's name, as node_exporter does where uname(2) has none."""
    host, _, domain = nodename.partition(".")
    return uname_family(host, domain or "(none)")


@dataclass(frozen=True, slots=True)
class PortableCollector:
    """See registry.Collector."""

    collect: Callable[[], Iterable[Family]]


def portable_collectors(roots: Roots, platform: str) -> dict[str, PortableCollector | TimeCollector]:
    """All collectors by the names that they have on Linux; `platform` is as in sys.platform."""
    filesystems = FilesystemCollector(roots, FilesystemOptions(), mounts)
    memory_names = DARWIN_MEMORY if platform == "darwin" else BSD_MEMORY
    # Counters as the system has them: rate() sees a wrap as the reset that it looks like.
    functions: dict[str, Callable[[], Iterable[Family]]] = {
        "boottime": lambda: [Family.single(*METRICS["btime"], psutil.boot_time())],
        "cpu": lambda: cpu(times._asdict() for times in psutil.cpu_times(percpu=True)),
        "diskstats": lambda: diskstats(_fields_by_name(psutil.disk_io_counters(perdisk=True, nowrap=False))),
        "exec": lambda: executions(psutil.cpu_stats()._asdict()),
        "filesystem": lambda: filesystem(filesystems),
        "loadavg": lambda: load_families(psutil.getloadavg()),
        "meminfo": lambda: meminfo(memory_names, psutil.virtual_memory()._asdict(), psutil.swap_memory()._asdict()),
        "netdev": lambda: netdev(_fields_by_name(psutil.net_io_counters(pernic=True, nowrap=False))),
        "uname": lambda: [uname(os.uname().nodename)],
    }
    return {name: PortableCollector(collect) for name, collect in functions.items()} | {"time": TimeCollector(roots)}


def _fields_by_name(readings: Mapping[str, Any]) -> dict[str, Fields]:
    return {name: reading._asdict() for name, reading in readings.items()}
