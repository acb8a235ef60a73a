"""Reads, writes, discards and flushes of each block device (kernel: Documentation/admin-guide/iostats.rst)."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from exporter.collectors.sysfs import attribute
from exporter.filters import Filter, shipped
from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

EXCLUDED_DEVICES = shipped(r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$")
"""Partitions and the like: node_exporter's default for --collector.diskstats.device-exclude."""

_SECTOR_BYTES = 512
"""The kernel counts in these, whatever the device's own sectors are."""

_COUNTER, _GAUGE = "counter", "gauge"

# The columns behind the device's name in order: name, type, factor to the unit in the name, help.
COLUMNS = [
    ("reads_completed_total", _COUNTER, 1, "The total number of reads completed successfully."),
    ("reads_merged_total", _COUNTER, 1, "The total number of reads merged."),
    ("read_bytes_total", _COUNTER, _SECTOR_BYTES, "The total number of bytes read successfully."),
    ("read_time_seconds_total", _COUNTER, 0.001, "The total number of seconds spent by all reads."),
    ("writes_completed_total", _COUNTER, 1, "The total number of writes completed successfully."),
    ("writes_merged_total", _COUNTER, 1, "The number of writes merged."),
    ("written_bytes_total", _COUNTER, _SECTOR_BYTES, "The total number of bytes written successfully."),
    ("write_time_seconds_total", _COUNTER, 0.001, "This is the total number of seconds spent by all writes."),
    ("io_now", _GAUGE, 1, "The number of I/Os currently in progress."),
    ("io_time_seconds_total", _COUNTER, 0.001, "Total seconds spent doing I/Os."),
    ("io_time_weighted_seconds_total", _COUNTER, 0.001, "The weighted # of seconds spent doing I/Os."),
    ("discards_completed_total", _COUNTER, 1, "The total number of discards completed successfully."),
    ("discards_merged_total", _COUNTER, 1, "The total number of discards merged."),
    ("discarded_sectors_total", _COUNTER, 1, "The total number of sectors discarded successfully."),
    ("discard_time_seconds_total", _COUNTER, 0.001, "This is the total number of seconds spent by all discards."),
    ("flush_requests_total", _COUNTER, 1, "The total number of flush requests completed successfully"),
    (
        "flush_requests_time_seconds_total",
        _COUNTER,
        0.001,
        "This is the total number of seconds spent by all flush requests.",
    ),
]


_ATA = {
    "ID_ATA_WRITE_CACHE": ("write_cache", "ATA disk has a write cache."),
    "ID_ATA_WRITE_CACHE_ENABLED": ("write_cache_enabled", "ATA disk has its write cache enabled."),
    "ID_ATA_ROTATION_RATE_RPM": ("rotation_rate_rpm", "ATA disk rotation rate in RPMs (0 for SSDs)."),
}
_SERIALS = ("SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL")


class DiskstatsOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the diskstats collector. An include pattern takes the place of the exclusion."""

    device_exclude: str = EXCLUDED_DEVICES
    device_include: str = ""


@dataclass(frozen=True, slots=True)
class _Disk:
    """What is known of a disk beside its counters, as label texts; empty where there is nothing to say."""

    changed_ns: int
    labels: str
    info: str
    filesystem: str
    mapper: str
    ata: list[tuple[str, float]]


class DiskstatsCollector:
    """`node_disk_*`."""

    def __init__(self, roots: Roots, options: DiskstatsOptions) -> None:
        self._diskstats = roots.procfs / "diskstats"
        self._block = os.fspath(roots.sysfs / "block")
        self._udev_data = os.fspath(roots.udev_data)
        self._devices = Filter(options.device_include, options.device_exclude, default_exclude=EXCLUDED_DEVICES)
        self._disks: dict[tuple[str, str, str], _Disk] = {}

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        families = [Family(f"node_disk_{name}", kind, text) for name, kind, _, text in COLUMNS]
        factors = [factor for _, _, factor, _ in COLUMNS]
        info = Family("node_disk_info", "gauge", "Info of /sys/block/<block_device>.")
        filesystem = Family("node_disk_filesystem_info", "gauge", "Info about disk filesystem.")
        mapper = Family("node_disk_device_mapper_info", "gauge", "Info about disk device mapper.")
        ata = {name: Family(f"node_disk_ata_{name}", "gauge", text) for name, text in _ATA.values()}
        for number, line in enumerate(read_text(self._diskstats).splitlines(), start=1):
            try:
                major, minor, device, *columns = line.split()
                counters = [int(column) for column in columns]
            except ValueError as error:
                raise ValueError(f"{self._diskstats}, line {number}: {error}") from error
            if not self._devices.allows(device):
                continue
            disk = self._disk(device, major, minor)
            for family, labels in ((info, disk.info), (filesystem, disk.filesystem), (mapper, disk.mapper)):
                if labels:
                    family.add(1, labels)
            for name, value in disk.ata:
                ata[name].add(value, disk.labels)
            # Kernels before 4.18 have no discards, those before 5.5 no flushes.
            for family, factor, counter in zip(families, factors, counters, strict=False):
                family.add(counter * factor, disk.labels)
        yield from (info, filesystem, mapper, *ata.values(), *families)

    def _disk(self, device: str, major: str, minor: str) -> _Disk:
        """Read again when udev has written something new of the device."""
        entry = f"{self._udev_data}/b{major}:{minor}"
        try:
            changed_ns = os.stat(entry).st_mtime_ns
        except OSError:
            changed_ns = 0  # Where udev does not run, nothing is known.
        key = (device, major, minor)
        disk = self._disks.get(key)
        if disk is None or disk.changed_ns != changed_ns:
            text = attribute(self._udev_data, f"b{major}:{minor}") or "" if changed_ns else ""
            disk = self._disks[key] = self._learn(device, major, minor, _properties(text), changed_ns)
        return disk

    def _learn(self, device: str, major: str, minor: str, udev: Mapping[str, str], changed_ns: int) -> _Disk:
        serials = [udev.get(key, "") for key in _SERIALS]
        info = label_text(
            device=device,
            major=major,
            minor=minor,
            model=udev.get("ID_MODEL", ""),
            path=udev.get("ID_PATH", ""),
            revision=udev.get("ID_REVISION", ""),
            rotational=attribute(f"{self._block}/{device}/queue", "rotational") or "0",
            serial=next(filter(None, serials), ""),
            wwn=udev.get("ID_WWN", ""),
        )
        filesystem = mapper = ""
        if "ID_FS_TYPE" in udev:
            named = {label: udev.get(f"ID_FS_{label.upper()}", "") for label in ("type", "usage", "uuid", "version")}
            filesystem = label_text(device=device, **named)
        if "DM_NAME" in udev:
            keys = ("name", "uuid", "vg_name", "lv_name", "lv_layer")
            mapper = label_text(device=device, **{key: udev.get(f"DM_{key.upper()}", "") for key in keys})
        # Without a write cache udev says nothing of it being enabled, which is not 0 either.
        known = {key: udev[key] for key in _ATA if udev.get("ID_ATA") and key in udev}
        ata = [(_ATA[key][0], float(value)) for key, value in known.items()]
        return _Disk(changed_ns, label_text(device=device), info, filesystem, mapper, ata)


def _properties(text: str) -> dict[str, str]:
    """What udev knows of a device: lines like `E:KEY=VALUE`."""
    lines = [line.removeprefix("E:") for line in text.splitlines() if line.startswith("E:")]
    return dict(line.split("=", 1) for line in lines if "=" in line)
