"""Attributes of devices below /sys: small files of one value each. Paths are text, as many are read in a scrape."""

import os
import re

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
