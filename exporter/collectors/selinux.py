"""SELinux's mode and its access vector cache (selinuxfs, selinux(8), avcstat(8))."""

import re
from collections.abc import Iterator
from itertools import starmap
from pathlib import Path

from exporter.roots import Roots, read_text
from exposition.writer import Family

_MODES = {"enforcing": 1, "permissive": 0}
_DISABLED = -1
# Columns of cache_stats, whose rows are CPUs.
_CACHE_COLUMNS = ["lookups", "hits", "misses", "allocations", "reclaims", "frees"]
_CONFIGURED = re.compile(r"^\s*SELINUX\s*=\s*\"?(\w+)", re.MULTILINE)
_HASH = re.compile(r"entries: (\d+)\s+buckets used: (\d+)/(\d+)\s+longest chain: (\d+)")
_HASH_GAUGES = ["hash_entries", "hash_buckets_used", "hash_buckets_available", "hash_longest_chain"]


class SelinuxCollector:
    """`node_selinux_*`; only `node_selinux_enabled` where the host does without SELinux."""

    def __init__(self, roots: Roots) -> None:
        self._selinuxfs = roots.sysfs / "fs/selinux"
        self._config = roots.rootfs / "etc/selinux/config"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        try:
            enforcing = int(read_text(self._selinuxfs / "enforce"))
        except FileNotFoundError:
            yield _gauge("enabled", 0, "SELinux is enabled, 1 is true, 0 is false")
            return
        yield _gauge("enabled", 1, "SELinux is enabled, 1 is true, 0 is false")
        yield _gauge("config_mode", _configured_mode(self._config), "Configured SELinux enforcement mode")
        yield _gauge("current_mode", enforcing, "Current SELinux enforcement mode")
        yield from self._collect_cache(self._selinuxfs / "avc")

    def _collect_cache(self, avc: Path) -> Iterator[Family]:
        rows = [list(map(int, line.split())) for line in read_text(avc / "cache_stats").splitlines()[1:]]
        for name, counts in zip(_CACHE_COLUMNS, zip(*rows, strict=True), strict=True):
            yield Family.single(f"node_selinux_avc_{name}_total", "counter", f"SELinux AVC {name}", sum(counts))
        hash_stats = _HASH.match(read_text(avc / "hash_stats"))
        if not hash_stats:
            raise ValueError(f"{avc / 'hash_stats'} has not the entries, buckets and chain that belong there")
        gauges = dict(zip(_HASH_GAUGES, map(int, hash_stats.groups()), strict=True))
        gauges["threshold"] = int(read_text(avc / "cache_threshold"))
        yield from starmap(_avc_gauge, gauges.items())


def _avc_gauge(name: str, value: int) -> Family:
    return _gauge(f"avc_{name}", value, f"SELinux AVC {name.replace('_', ' ')}")


def _gauge(name: str, value: int, help_text: str) -> Family:
    return Family.single(f"node_selinux_{name}", "gauge", help_text, value)


def _configured_mode(config: Path) -> int:
    """What the host is to start with; as good as disabled without a file that says so."""
    try:
        configured = _CONFIGURED.search(read_text(config))
    except FileNotFoundError:
        return _DISABLED
    return _MODES.get(configured[1], _DISABLED) if configured else _DISABLED
