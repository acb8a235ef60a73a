"""Size and use of each mounted file system (proc_pid_mountinfo(5), statvfs(3)).

A mount whose server is gone hangs in statvfs for as long as it likes. Each is asked with a limit, and not again until
it has answered: a dead mount costs its own metrics.
"""

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import msgspec

from common.yamlfile import Duration
from exporter.deadlines import Deadlines
from exporter.filters import Filter, shipped
from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

EXCLUDED_MOUNT_POINTS = shipped(
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
)
EXCLUDED_TYPES = shipped(
    r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay"
    r"|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$"
)
"""node_exporter's defaults on Linux, and devfs, which it leaves out elsewhere. Debian's package leaves out more: all of
/run, /mnt and /media, where disks may be mounted."""

_TIMEOUT_TEXT = "mountpoint timeout"
"""node_exporter's device_error of a mount that does not answer."""
# Where Go's text of an error is not that of the C library in lower case.
_GO_ERRORS = {errno.ESTALE: "stale NFS file handle", errno.EREMOTEIO: "remote I/O error"}
_ESCAPE = re.compile(r"\\([0-7]{3})")


class FilesystemOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the filesystem collector. An include pattern takes the place of the exclusion."""

    mount_points_exclude: str = EXCLUDED_MOUNT_POINTS
    mount_points_include: str = ""
    fs_types_exclude: str = EXCLUDED_TYPES
    fs_types_include: str = ""
    mount_timeout: Duration = Duration(400)


@dataclass(frozen=True, slots=True)
class Mount:
    """One mounted file system, or the part of one below `root`. The device's numbers are empty where not known.

    `read_only` is this mount, or the whole file system, which `file_system_read_only` is about.
    """

    device: str
    mount_point: str
    type: str
    major: str
    minor: str
    read_only: bool
    root: str = "/"
    file_system_read_only: bool = False


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
        whole_read_only = "ro" in super_options.split(",")
        yield Mount(
            _unescaped(device),
            _unescaped(fields[4]),
            kind,
            major,
            minor,
            whole_read_only or "ro" in fields[5].split(","),
            _unescaped(fields[3]),
            whole_read_only,
        )


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


Usage = os.statvfs_result | OSError
Statvfs = Callable[[str], os.statvfs_result]


class FilesystemCollector:
    """`node_filesystem_*`.

    `mounts` tells the mounts where the system has no mountinfo; `statvfs` is the system call.
    """

    def __init__(
        self,
        roots: Roots,
        options: FilesystemOptions,
        mounts: Callable[[], Iterable[Mount]] | None = None,
        statvfs: Statvfs = os.statvfs,
    ) -> None:
        self._procfs = roots.procfs
        self._root = str(roots.rootfs).rstrip("/")
        self._mounts = mounts or self._read_mountinfo
        self._statvfs = statvfs
        points = (options.mount_points_include, options.mount_points_exclude)
        self._points = Filter(*points, default_exclude=EXCLUDED_MOUNT_POINTS)
        types = (options.fs_types_include, options.fs_types_exclude)
        self._types = Filter(*types, default_exclude=EXCLUDED_TYPES)
        self._deadlines = Deadlines[Usage](options.mount_timeout / 1000, "statvfs", halving=True)

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        families = {name: Family(f"node_filesystem_{name}", "gauge", text) for name, text in _METRICS.items()}
        chosen = self._chosen()
        usages = self._deadlines.run({point: partial(self._usage, point) for _, point in chosen})
        for mount, point in chosen:
            _add(families, mount, point, usages.get(point))
        yield from families.values()

    def _chosen(self) -> list[tuple[Mount, str]]:
        """The mounts to report with their mount points as the host sees them, each device, point and type once."""
        found: dict[tuple[str, str, str], tuple[Mount, str]] = {}
        for mount in self._mounts():
            point = mount.mount_point.removeprefix(self._root) or "/"
            if self._points.allows(point) and self._types.allows(mount.type):
                found.setdefault((mount.device, point, mount.type), (mount, point))
        return list(found.values())

    def _usage(self, mount_point: str) -> Usage:
        try:
            return self._statvfs(f"{self._root}{mount_point}")
        except OSError as error:
            return error

    def _read_mountinfo(self) -> Iterable[Mount]:
        """The mounts of process 1, which in a container with the host's /proc are the host's; ours if not allowed."""
        try:
            text = read_text(self._procfs / "1/mountinfo")
        except (PermissionError, FileNotFoundError):
            return unsandboxed(read_mounts(read_text(self._procfs / "self/mountinfo")))
        return read_mounts(text)


def unsandboxed(mounts: Iterable[Mount]) -> list[Mount]:
    """The mounts of this process without what a sandbox like systemd's does to them.

    It mounts the whole system read-only for the service, where the file systems are not, directories that are treated
    otherwise onto themselves, and a private /tmp.
    """
    found = list(mounts)
    whole = {(mount.major, mount.minor): mount.mount_point.rstrip("/") for mount in found if mount.root == "/"}
    return [
        replace(mount, read_only=mount.file_system_read_only)
        for mount in found
        if mount.root == "/"
        or (
            "/systemd-private-" not in mount.root
            and whole.get((mount.major, mount.minor), "\0") + mount.root != mount.mount_point
        )
    ]


def _add(families: dict[str, Family], mount: Mount, mount_point: str, usage: Usage | None) -> None:
    error_text = _TIMEOUT_TEXT if usage is None else ""
    if isinstance(usage, OSError):
        error_text = _GO_ERRORS.get(usage.errno or 0) or os.strerror(usage.errno or 0).lower()
    labels = label_text(device=mount.device, device_error=error_text, fstype=mount.type, mountpoint=mount_point)
    families["device_error"].add(int(bool(error_text)), labels)
    families["readonly"].add(int(mount.read_only), labels)
    if usage is None or isinstance(usage, OSError):
        return
    info = label_text(device=mount.device, major=mount.major, minor=mount.minor, mountpoint=mount_point)
    families["mount_info"].add(1, info)
    families["size_bytes"].add(usage.f_blocks * usage.f_frsize, labels)
    families["free_bytes"].add(usage.f_bfree * usage.f_frsize, labels)
    families["avail_bytes"].add(usage.f_bavail * usage.f_frsize, labels)
    families["files"].add(usage.f_files, labels)
    families["files_free"].add(usage.f_ffree, labels)
    families["purgeable_bytes"].add(0, labels)
