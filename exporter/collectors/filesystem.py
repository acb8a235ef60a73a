"""Size and use of each mounted file system (proc_pid_mountinfo(5), statvfs(3))."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

EXCLUDED_MOUNT_POINTS = re.compile(
    r"^/(dev|proc|run|sys|mnt|media|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
)
EXCLUDED_TYPES = re.compile(
    r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay"
    r"|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$"
)
"""node_exporter's defaults on Linux for --collector.filesystem.mount-points-exclude and fs-types-exclude, and devfs,
which it leaves out elsewhere."""

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system. The device's numbers are empty where they are not known."""

    device: str
    mount_point: str
    type: str
    major: str
    minor: str
    read_only: bool


def read_mounts(mountinfo: str) -> Iterator[Mount]:
    """The mounts of a mountinfo file. Raises ValueError for a line that is none."""
    for line in mountinfo.splitlines():
        # 36 35 98:0 /root /mount options optional fields - type device super-options
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 6:
            raise ValueError(f"not a line of mountinfo: {line!r}")
        kind, device, super_options, *_ = [*after.split(" "), ""]
        major, _, minor = fields[2].partition(":")
        read_only = "ro" in fields[5].split(",") or "ro" in super_options.split(",")
        yield Mount(_unescaped(device), _unescaped(fields[4]), kind, major, minor, read_only)


def _unescaped(text: str) -> str:
    """Blanks, tabs and the like stand as octal numbers in the kernel's mount tables."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


_METRICS = {
    "avail_bytes": "Filesystem space available to non-root users in bytes.",
    "device_error": "Whether an error occurred while getting statistics for the given device.",
    "files": "Filesystem total file nodes.",
    "files_free": "Filesystem total free file nodes.",
    "free_bytes": "Filesystem free space in bytes.",
    "mount_info": "Filesystem mount information.",
    "purgeable_bytes": "Filesystem space available including purgeable space (MacOS specific).",
    "readonly": "Filesystem read-only status.",
    "size_bytes": "Filesystem size in bytes.",
}


def filesystem_families(mounts: Iterable[Mount], rootfs: Path) -> Iterator[Family]:
    """The families of all mounts but the excluded ones; `rootfs` is where the mounts' own root is seen."""
    families = {name: Family(f"node_filesystem_{name}", "gauge", text) for name, text in _METRICS.items()}
    root = str(rootfs).rstrip("/")
    seen: set[tuple[str, str, str]] = set()
    for mount in mounts:
        mount_point = mount.mount_point.removeprefix(root) or "/"
        identity = (mount.device, mount_point, mount.type)
        if identity in seen or EXCLUDED_MOUNT_POINTS.search(mount_point) or EXCLUDED_TYPES.search(mount.type):
            continue
        seen.add(identity)
        _add(families, mount, mount_point, root)
    yield from families.values()


def _add(families: dict[str, Family], mount: Mount, mount_point: str, root: str) -> None:
    error_text = ""
    try:
        usage = os.statvfs(f"{root}{mount_point}")
    except OSError as error:
        error_text = os.strerror(error.errno).lower() if error.errno else str(error)
    labels = label_text(device=mount.device, device_error=error_text, fstype=mount.type, mountpoint=mount_point)
    families["device_error"].add(int(bool(error_text)), labels)
    families["readonly"].add(int(mount.read_only), labels)
    if error_text:
        return
    info = label_text(device=mount.device, major=mount.major, minor=mount.minor, mountpoint=mount_point)
    families["mount_info"].add(1, info)
    families["size_bytes"].add(usage.f_blocks * usage.f_frsize, labels)
    families["free_bytes"].add(usage.f_bfree * usage.f_frsize, labels)
    families["avail_bytes"].add(usage.f_bavail * usage.f_frsize, labels)
    families["files"].add(usage.f_files, labels)
    families["files_free"].add(usage.f_ffree, labels)
    families["purgeable_bytes"].add(0, labels)


class FilesystemCollector:
    """`node_filesystem_*`."""

    def __init__(self, roots: Roots) -> None:
        self._procfs = roots.procfs
        self._rootfs = roots.rootfs

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        yield from filesystem_families(read_mounts(self._mountinfo()), self._rootfs)

    def _mountinfo(self) -> str:
        """The mounts of process 1, which in a container with the host's /proc are the host's; ours if not allowed."""
        try:
            return read_text(self._procfs / "1/mountinfo")
        except (PermissionError, FileNotFoundError):
            return read_text(self._procfs / "self/mountinfo")
