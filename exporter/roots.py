"""Where a host's own files are: settable, so that a container sees its host and tests read recorded trees."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Roots:
    """The mount points of the kernel's file systems, of the host's root, and udev's database."""

    procfs: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    rootfs: Path = Path("/")
    udev_data: Path = Path("/run/udev/data")


def read_text(path: Path) -> str:
    """A whole small file, bytes that are no UTF-8 kept as surrogates. Raises OSError."""
    return path.read_text("utf-8", "surrogateescape")
