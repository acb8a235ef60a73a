"""Where a host's own files are: settable, so that a container sees its host and tests read recorded trees."""

import os
from dataclasses import dataclass
from pathlib import Path

_CHUNK_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class Roots:
    """The mount points of the kernel's file systems, of the host's root, and udev's database."""

    procfs: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    rootfs: Path = Path("/")
    udev_data: Path = Path("/run/udev/data")


def read_text(path: Path) -> str:
    """A whole small file, bytes that are no UTF-8 kept as surrogates. Raises OSError.

    Half the cost of `Path.read_text`, which makes three objects around the file.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(file, _CHUNK_BYTES)
        while more := os.read(file, _CHUNK_BYTES):
            content += more
    finally:
        os.close(file)
    return content.decode("utf-8", "surrogateescape")
