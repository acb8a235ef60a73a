"""Attributes of devices below /sys: small files of one value each. Paths are plain text, as many are read per scrape.

`read_*` raise for what cannot be read; `attribute` and `number` take it as something the device does not tell.
"""

import errno
import os
import re

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


# One read of sysfs never gives more than a page.
_PAGE_BYTES = 4096
_NO_UTF8 = re.compile("[\udc80-\udcff]+")


def read_attribute(path: str) -> str:
    """The trimmed text of an attribute; bytes that are no UTF-8 become U+FFFD. Raises OSError, EAGAIN included."""
    file = os.open(path, os.O_RDONLY)
    try:
        content = os.read(file, _PAGE_BYTES)
    finally:
        os.close(file)
    return _NO_UTF8.sub("\ufffd", content.decode("utf-8", "surrogateescape")).strip()


def read_unsigned(path: str) -> int:
    """An attribute that counts or measures. Raises OSError, and ValueError that names the file."""
    text = read_attribute(path)
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{path}: {text!r} is no unsigned integer")
    return int(text)


def signed(text: str, path: str) -> int:
    """The text of an attribute as a decimal number, or a hexadecimal one behind 0x. Raises ValueError with the file."""
    try:
        return int(text, 16 if text.startswith("0x") else 10)
    except ValueError as error:
        raise ValueError(f"{path}: {text!r} is no integer") from error


def numbered(directory: str, prefix: str) -> list[str]:
    """The entries called prefix and a number, in the order of the numbers; none where the directory is not there."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    numbers = [name[len(prefix) :] for name in names if name.startswith(prefix)]
    return [f"{prefix}{number}" for number in sorted((n for n in numbers if n.isdecimal()), key=int)]


def cpu_list(text: str, path: str) -> list[int]:
    """The numbers of a list of CPUs such as `0-3,8`. Raises ValueError with the file."""
    numbers: list[int] = []
    for part in text.split(",") if text else []:
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal()):
            raise ValueError(f"{path}: {part!r} is no CPU and no range of CPUs")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def attribute(directory: str, name: str) -> str | None:
    """An attribute of a device; None where the device does not tell it now. Raises OSError."""
    try:
        return read_attribute(f"{directory}/{name}")
    except OSError as error:
        if error.errno in _NOT_AVAILABLE:
            return None
        raise


def number(directory: str, name: str) -> int | None:
    """The same as a whole number. Raises ValueError, with the file's name, where it is none."""
    text = attribute(directory, name)
    return signed(text, f"{directory}/{name}") if text else None


def devices(directory: str, prefix: str = "") -> list[str]:
    """The names of the devices of a class, sorted. Raises NoDataError where the kernel does not know the class."""
    try:
        return sorted(name for name in os.listdir(directory) if name.startswith(prefix))
    except (FileNotFoundError, PermissionError) as error:
        raise NoDataError(f"no devices: {error}") from error
