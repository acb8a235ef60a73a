"""The devices of a mounted Btrfs and their errors: ioctls of the file system (linux/btrfs.h), which need no rights."""

import errno
import fcntl
import os
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

# max_id, num_devices, fsid; then what is not needed here.
_FS_INFO = struct.Struct("=QQ16s992x")
# devid, uuid, bytes_used, total_bytes; at the end the path.
_DEV_INFO = struct.Struct("=Q16sQQ3032x1024s")
# devid, nr_items, flags, and a count for each of ERRORS.
_DEV_STATS = struct.Struct("=QQQ5Q968x")
ERRORS = ["write", "read", "flush", "corruption", "generation"]

_MAGIC = 0x94
_READ, _WRITE = 2, 1


def _request(direction: int, number: int, argument: struct.Struct) -> int:
    """An ioctl's number (asm-generic/ioctl.h)."""
    return direction << 30 | argument.size << 16 | _MAGIC << 8 | number


GET_FS_INFO = _request(_READ, 31, _FS_INFO)
GET_DEV_INFO = _request(_READ | _WRITE, 30, _DEV_INFO)
GET_DEV_STATS = _request(_READ | _WRITE, 52, _DEV_STATS)


@dataclass(frozen=True, slots=True)
class BtrfsDevice:
    """A device of a file system; `errors` are in the order of ERRORS."""

    name: str
    uuid: str
    used_bytes: int
    total_bytes: int
    errors: tuple[int, ...]


def read_devices(mount_point: str) -> tuple[str, list[BtrfsDevice]]:
    """The UUID, without dashes, of the file system mounted there, and its devices. Raises OSError."""
    directory = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        max_id, count, file_system = _FS_INFO.unpack(_ask(directory, GET_FS_INFO, bytes(_FS_INFO.size)))
        return file_system.hex(), list(_devices(directory, max_id, count))
    finally:
        os.close(directory)


def _devices(directory: int, max_id: int, count: int) -> Iterator[BtrfsDevice]:
    for device_id in range(max_id + 1):
        try:
            info = _ask(directory, GET_DEV_INFO, _DEV_INFO.pack(device_id, b"", 0, 0, b""))
        except OSError as error:
            if error.errno == errno.ENODEV:
                continue  # The numbers have gaps: devices were removed.
            raise
        _, device, used_bytes, total_bytes, path = _DEV_INFO.unpack(info)
        asked = _DEV_STATS.pack(device_id, len(ERRORS), 0, *(0 for _ in ERRORS))
        errors = _DEV_STATS.unpack(_ask(directory, GET_DEV_STATS, asked))[3:]
        name = os.fsdecode(path.rstrip(b"\0")).rpartition("/")[2]
        yield BtrfsDevice(name, str(uuid.UUID(bytes=device)), used_bytes, total_bytes, errors)
        count -= 1
        if count == 0:
            return


def _ask(directory: int, request: int, argument: bytes) -> bytes:
    answer = bytearray(argument)  # Python takes no more than 1024 bytes that it cannot write to.
    fcntl.ioctl(directory, request, answer)
    return bytes(answer)
