"""Reading attributes of sysfs: small files, of which every device has others."""

import errno
import os
from collections.abc import Iterable

from exporter.errors import NoDataError

_NOT_AVAILABLE = frozenset(
    (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EACCES,
        errno.EPERM,
        errno.EINVAL,
        errno.EIO,
        errno.EISDIR,
        errno.ENODEV,
        errno.ENXIO,
        errno.EAGAIN,
        errno.ENODATA,
        errno.EOPNOTSUPP,
        errno.ETIMEDOUT,
    )
)
"""Devices lack attributes, or refuse to read one while they sleep, are down or have no permission to give."""


def attribute(directory: str, name: str) -> str | None:
    """The stripped text of a device's attribute; None where the device does not tell it now. Raises OSError."""
    try:
        file = os.open(f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(file, 4096).decode("utf-8", "surrogateescape").strip()
        finally:
            os.close(file)
    except OSError as error:
        if error.errno in _NOT_AVAILABLE:
            return None
        raise


def number(directory: str, name: str) -> int | None:
    """The same as a whole number. Raises ValueError, with the file's name, where it is none."""
    text = attribute(directory, name)
    if not text:
        return None
    try:
        return int(text, 0)
    except ValueError as error:
        raise ValueError(f"{directory}/{name}, line 1: {error}") from error


def devices(directory: str, prefix: str = "") -> list[str]:
    """The names of the devices of a class, sorted. Raises NoDataError where the kernel does not know the class."""
    try:
        return sorted(name for name in os.listdir(directory) if name.startswith(prefix))
    except (FileNotFoundError, PermissionError) as error:
        raise NoDataError(f"no devices: {error}") from error


def cpu_list(text: str) -> Iterable[int]:
    """The numbers of a list of CPUs like `0-2,5`. Raises ValueError."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
