"""What a process wrote to the files of a directory, seen by strace, and what a power cut leaves of it.

A write is safe once its file was synced after it, a removal once the directory was. Of the rest a power cut keeps
some and loses some, in no order, down to single sectors; the -shm file is never on the disk.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

COMMAND = [
    *("strace", "-f", "-y", "-qq", "-xx", "-s", "1000000", "--signal=none"),
    *("-e", "trace=write,pwrite64,ftruncate,fdatasync,fsync,unlink"),
]

_SECTOR_BYTES = 512
# thread, call, descriptor and its path or a path, data, the other arguments; all strings in hexadecimal
_CALL = re.compile(r'(\d+) +(\w+)\((?:(\d+)<([^>]*)>|"([^"]*)")(?:, "([^"]*)")?([^)<]*)')
_RESUMED = re.compile(r"(\d+) +<\.\.\. (?:fdatasync|fsync) resumed>")


@dataclass(frozen=True, slots=True)
class Event:
    """`write` at an offset, `truncate` to it, `unlink`; `sync` begins, `synced`; `said` is a line on the output."""

    kind: str
    file: str
    data: bytes = b""
    offset: int = 0


def read_trace(path: Path, directory: Path) -> list[Event]:
    """What strace wrote to a file, as far as it is about a directory and its files, and the lines said."""
    return [
        event
        for event in _events(path)
        if event.kind == "said" or directory in (Path(event.file), Path(event.file).parent)
    ]


def _events(path: Path) -> Iterator[Event]:
    syncing: dict[str, str] = {}
    with path.open() as lines:
        for line in lines:
            if resumed := _RESUMED.match(line):
                yield Event("synced", syncing.pop(resumed[1]))
            if not (call := _CALL.match(line)):
                continue
            thread, name, descriptor, opened, named, data, rest = call.groups()
            file = _bytes(opened or named).decode()
            match name:
                case "write" if descriptor == "1":
                    yield Event("said", "", _bytes(data))
                case "pwrite64":
                    yield Event("write", file, _bytes(data), int(rest.split(", ")[2]))
                case "ftruncate":
                    yield Event("truncate", file, offset=int(rest.split(", ")[1]))
                case "unlink":
                    yield Event("unlink", file)
                case "fdatasync" | "fsync":
                    yield Event("sync", file)
                    if "<unfinished" in line:
                        syncing[thread] = file
                    else:
                        yield Event("synced", file)


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass(slots=True)
class _File:
    safe: bytearray = field(default_factory=bytearray)
    pending: list[Event] = field(default_factory=list)
    # How many of the pending there were when the sync that goes on began.
    syncing: int = 0


class Disk:
    """The files of a directory while the events go by."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: defaultdict[str, _File] = defaultdict(_File)

    def take(self, event: Event) -> None:
        """One event happens."""
        if event.kind == "said":
            return
        if event.file == str(self._directory):
            if event.kind == "synced":
                self._sync_names()
            return
        file = self._files[Path(event.file).name]
        match event.kind:
            case "sync":
                file.syncing = len(file.pending)
            case "synced":
                for done in file.pending[: file.syncing]:
                    _apply(file.safe, done)
                del file.pending[: file.syncing]
            case _:
                file.pending.append(event)

    def _sync_names(self) -> None:
        """The directory was synced: files that were removed do not come back."""
        for file in self._files.values():
            removed = [place for place, event in enumerate(file.pending) if event.kind == "unlink"]
            if removed:
                file.safe.clear()
                del file.pending[: removed[-1] + 1]

    def cut(self, directory: Path, choose: random.Random) -> None:
        """Leave in a new directory what a power cut now could leave."""
        directory.mkdir()
        for name, file in self._files.items():
            if not name.endswith("-shm"):
                (directory / name).write_bytes(_what_is_left(file, choose))


def _what_is_left(file: _File, choose: random.Random) -> bytes:
    content = bytearray(file.safe)
    kept = choose.choice([0.0, 0.5, 0.9, 1.0])
    torn = choose.random() < 0.5
    for event in file.pending:
        if not torn or event.kind != "write":
            if choose.random() < kept:
                _apply(content, event)
            continue
        for start in range(0, len(event.data), _SECTOR_BYTES):
            if choose.random() < kept:
                sector = event.data[start : start + _SECTOR_BYTES]
                _apply(content, Event("write", event.file, sector, event.offset + start))
    return bytes(content)


def _apply(content: bytearray, event: Event) -> None:
    match event.kind:
        case "write":
            end = event.offset + len(event.data)
            content.extend(bytes(max(0, end - len(content))))
            content[event.offset : end] = event.data
        case "truncate":
            content.extend(bytes(max(0, event.offset - len(content))))
            del content[event.offset :]
        case "unlink":
            content.clear()
