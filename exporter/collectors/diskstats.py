"""Reads, writes, discards and flushes of each block device (kernel: Documentation/admin-guide/iostats.rst)."""

import re
from collections.abc import Iterator

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

EXCLUDED_DEVICES = re.compile(r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$")
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


class DiskstatsCollector:
    """`node_disk_*`."""

    def __init__(self, roots: Roots) -> None:
        self._diskstats = roots.procfs / "diskstats"
        self._block = roots.sysfs / "block"
        self._udev_data = roots.udev_data

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        families = [Family(f"node_disk_{name}", kind, text) for name, kind, _, text in COLUMNS]
        factors = [factor for _, _, factor, _ in COLUMNS]
        info = Family("node_disk_info", "gauge", "Info of /sys/block/<block_device>.")
        for line in read_text(self._diskstats).splitlines():
            major, minor, device, *numbers = line.split()
            if EXCLUDED_DEVICES.search(device):
                continue
            info.add(1, self._info_labels(device, major, minor))
            labels = label_text(device=device)
            # Kernels before 4.18 have no discards, those before 5.5 no flushes.
            for family, factor, number in zip(families, factors, numbers, strict=False):
                family.add(int(number) * factor, labels)
        yield info
        yield from families

    def _info_labels(self, device: str, major: str, minor: str) -> str:
        properties = self._udev_properties(major, minor)
        rotational = self._block / device / "queue/rotational"
        serials = [properties.get(key, "") for key in ("SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL")]
        return label_text(
            device=device,
            major=major,
            minor=minor,
            model=properties.get("ID_MODEL", ""),
            path=properties.get("ID_PATH", ""),
            revision=properties.get("ID_REVISION", ""),
            rotational=read_text(rotational).strip() if rotational.exists() else "0",
            serial=next(filter(None, serials), ""),
            wwn=properties.get("ID_WWN", ""),
        )

    def _udev_properties(self, major: str, minor: str) -> dict[str, str]:
        """What udev knows of a device: `E:KEY=VALUE` lines; nothing where udev does not run."""
        entry = self._udev_data / f"b{major}:{minor}"
        if not entry.exists():
            return {}
        lines = [line.removeprefix("E:") for line in read_text(entry).splitlines() if line.startswith("E:")]
        return dict(line.split("=", 1) for line in lines if "=" in line)
