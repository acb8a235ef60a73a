"""Space, commits and device errors of each mounted Btrfs (kernel: Documentation/ABI/testing/sysfs-fs-btrfs)."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from exporter.collectors.btrfs_devices import ERRORS, BtrfsDevice, read_devices
from exporter.collectors.filesystem import read_mounts
from exporter.collectors.sysfs import attribute
from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

_SECTOR_BYTES = 512
"""The unit of a device's size in sysfs."""
_BLOCK_GROUPS = ["data", "metadata", "system"]
# Copies of each block; with parity it depends on the number of devices.
_COPIES = {"single": 1, "raid0": 1, "dup": 2, "raid1": 2, "raid1c3": 3, "raid1c4": 4, "raid10": 2}
_PARITY_DEVICES = {"raid5": 1, "raid6": 2}

# Metric behind node_btrfs_: type, help.
_METRICS = {
    "info": ("gauge", "Filesystem information"),
    "global_rsv_size_bytes": ("gauge", "Size of global reserve."),
    "commits_total": ("counter", "The total number of commits that have occurred."),
    "last_commit_seconds": ("gauge", "Duration of the most recent commit, in seconds."),
    "max_commit_seconds": ("gauge", "Duration of the slowest commit, in seconds."),
    "commit_seconds_total": ("counter", "Sum of the duration of all commits, in seconds."),
    "reserved_bytes": ("gauge", "Amount of space reserved for a data type"),
    "used_bytes": ("gauge", "Amount of used space by a layout/data type"),
    "size_bytes": ("gauge", "Amount of space allocated for a layout/data type"),
    "allocation_ratio": ("gauge", "Data allocation ratio for a layout/data type"),
    "device_size_bytes": ("gauge", "Size of a device that is part of the filesystem."),
    "device_unused_bytes": ("gauge", "Unused bytes unused on a device that is part of the filesystem."),
    "device_errors_total": ("counter", "Errors reported for the device"),
}
_COMMITS = {
    "commits_total": ("commits", 1),
    "last_commit_seconds": ("last_commit_ms", 1000),
    "max_commit_seconds": ("max_commit_ms", 1000),
    "commit_seconds_total": ("total_commit_ms", 1000),
}

_Families = Mapping[str, Family]


class BtrfsCollector:
    """`node_btrfs_*`; nothing without a mounted Btrfs."""

    def __init__(self, roots: Roots) -> None:
        self._btrfs = roots.sysfs / "fs/btrfs"
        self._procfs = roots.procfs
        self._root = os.fspath(roots.rootfs).rstrip("/")

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        # Beside the file systems, which are called by their UUID, stands `features`.
        directories = sorted(map(os.fspath, self._btrfs.glob("*-*")))
        if not directories:
            return
        families = {name: Family(f"node_btrfs_{name}", kind, text) for name, (kind, text) in _METRICS.items()}
        devices = self._mounted_devices()
        for directory in directories:
            _add(families, directory, devices)
        yield from families.values()

    def _mounted_devices(self) -> dict[str, list[BtrfsDevice]]:
        """The devices by the UUID of their file system, of those that are mounted where this process may look."""
        try:
            mountinfo = read_text(self._procfs / "1/mountinfo")
        except (PermissionError, FileNotFoundError):
            mountinfo = read_text(self._procfs / "self/mountinfo")
        found: dict[str, list[BtrfsDevice]] = {}
        asked: set[str] = set()
        for mount in read_mounts(mountinfo):
            if mount.type == "btrfs" and mount.device not in asked:
                try:
                    uuid, devices = read_devices(f"{self._root}{mount.mount_point.removeprefix(self._root)}")
                except OSError:
                    continue  # Another mount point of the same file system may do.
                asked.add(mount.device)
                found[uuid] = devices
        return found


def _add(families: _Families, directory: str, mounted: Mapping[str, list[BtrfsDevice]]) -> None:
    uuid = attribute(directory, "metadata_uuid") or directory.rpartition("/")[2]
    of_all = label_text(uuid=uuid)
    families["info"].add(1, label_text(label=attribute(directory, "label") or "", uuid=uuid))
    families["global_rsv_size_bytes"].add(_number(directory, "allocation/global_rsv_size"), of_all)
    commits = dict(line.split() for line in (attribute(directory, "commit_stats") or "").splitlines())
    for name, (key, divisor) in _COMMITS.items():
        families[name].add(int(commits.get(key, 0)) / divisor, of_all)
    names = sorted(os.listdir(f"{directory}/devices"))
    for group in _BLOCK_GROUPS:
        _add_block_group(families, f"{directory}/allocation/{group}", uuid, len(names))
    devices = mounted.get(uuid.replace("-", ""))
    if devices is None:
        for name in names:
            size_bytes = _number(directory, f"devices/{name}/size") * _SECTOR_BYTES
            families["device_size_bytes"].add(size_bytes, label_text(device=name, uuid=uuid))
    for device in devices or ():
        _add_device(families, device, uuid)


def _add_block_group(families: _Families, directory: str, uuid: str, devices: int) -> None:
    group = directory.rpartition("/")[2]
    reserved = label_text(block_group_type=group, uuid=uuid)
    families["reserved_bytes"].add(_number(directory, "bytes_reserved"), reserved)
    for layout in sorted(entry.name for entry in Path(directory).iterdir() if entry.is_dir()):
        labels = label_text(block_group_type=group, mode=layout, uuid=uuid)
        families["used_bytes"].add(_number(directory, f"{layout}/used_bytes"), labels)
        families["size_bytes"].add(_number(directory, f"{layout}/total_bytes"), labels)
        families["allocation_ratio"].add(_allocation_ratio(layout, devices), labels)


def _allocation_ratio(layout: str, devices: int) -> float:
    """Bytes on the devices for each byte of data; 0 where it is not known."""
    parity = _PARITY_DEVICES.get(layout, 0)
    if parity:
        return devices / (devices - parity) if devices > parity else 0
    return _COPIES.get(layout, 0)


def _add_device(families: _Families, device: BtrfsDevice, uuid: str) -> None:
    labels = {"btrfs_dev_uuid": device.uuid, "device": device.name}
    families["device_size_bytes"].add(device.total_bytes, label_text(**labels, uuid=uuid))
    families["device_unused_bytes"].add(device.total_bytes - device.used_bytes, label_text(**labels, uuid=uuid))
    for kind, count in zip(ERRORS, device.errors, strict=True):
        families["device_errors_total"].add(count, label_text(**labels, type=kind, uuid=uuid))


def _number(directory: str, name: str) -> int:
    """An attribute; 0 where this kernel does not have it. Raises ValueError that names the file."""
    text = attribute(directory, name) or "0"
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{directory}/{name}: {error}") from error
