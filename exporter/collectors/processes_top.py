"""What the programs that use most of a host use, by command name (proc_pid_stat(5), proc_pid_io(5)).

All processes of one name are a group. Its rank is its share of the host's CPU time, of which older use counts ever
less, plus its share of resident memory; the few first are served. A served group gives way only to one that ranks
clearly higher, so that series do not flap. All processes are looked at in each scrape, but their I/O and open files
only where the group is served. Counters hold what was used since the first scrape, also by processes that have ended
since, and go on where they were when a group comes back. What a process uses that starts and ends between two scrapes
is never seen.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

MAX_GROUPS = 10
"""As each has six series, and a thousand hosts may have other groups each."""

_WINDOW_S = 300.0
"""CPU time that was used this long ago counts 1/e in the ranking."""
_IDLE_S = 0.05 * _WINDOW_S
"""Below this use of CPU time on the whole host its shares are mere chance, and would shuffle the ranking."""
_STAY = 1.5
"""A group is displaced by one with a share larger by this factor, so that two that are alike do not take turns."""

_REMEMBERED_GROUPS = 100
"""Of the groups that were served and have no process left, so many keep their counters, the latest."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STAT_BYTES = 4096
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD of the kernel's include/linux/sched.h."""
_ZOMBIE = b"Z"
"""The state of what has ended: it holds nothing any more, and cannot be looked at."""


class ProcessesTopOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the processes_top collector: how many groups are served."""

    groups: int = MAX_GROUPS


class _Stat(NamedTuple):
    pid: str
    start_ticks: int
    command: bytes
    cpu_ticks: int
    pages: int


@dataclass(slots=True)
class _Process:
    """What has been counted of a process. `io_bytes` (read, written) is None where it was not looked at yet."""

    pid: str
    start_ticks: int
    cpu_ticks: int
    io_bytes: tuple[int, int] | None


@dataclass(slots=True)
class _Group:
    """`cpu_ticks`, `read_bytes`, `written_bytes` only grow; the rest is of the current scrape."""

    name: str
    cpu_ticks: int = 0
    recent_ticks: float = 0.0
    read_bytes: int = 0
    written_bytes: int = 0
    has_io: bool = False
    was_served: bool = False
    pages: int = 0
    processes: list[_Process] = field(default_factory=list)


class ProcessesTopCollector:
    """`node_processes_top_*`."""

    def __init__(self, roots: Roots, options: ProcessesTopOptions, clock: Callable[[], float] = time.monotonic) -> None:
        if not 1 <= options.groups <= MAX_GROUPS:
            raise ValueError(f"groups is {options.groups}: it must be from 1 to {MAX_GROUPS}")
        self._procfs = os.fspath(roots.procfs)
        self._uptime = roots.procfs / "uptime"
        self._count = options.groups
        self._clock = clock
        self._time_s = 0.0
        self._has_started = False
        self._processes: dict[str, _Process] = {}
        self._groups: dict[str, _Group] = {}
        self._ended: dict[str, _Group] = {}
        self._top: set[str] = set()

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        # All that may fail comes first, lest a process be counted twice.
        stats = list(_stats(self._procfs))
        if not self._has_started:
            self._start(stats, uptime_s=float(read_text(self._uptime).split()[0]))
        self._count_cpu(stats)
        top = self._rank()
        open_files = {group.name: self._open_files(group) for group in top}
        for group in top:
            self._count_io(group)
        return _families(top, open_files)

    def _start(self, stats: list[_Stat], uptime_s: float) -> None:
        """Take what was used before the first scrape for the ranking alone: a counter that began with it would look,
        after each restart of the exporter, as if all of it had been used at that moment.
        """
        self._time_s = self._clock()
        self._has_started = True
        for stat in stats:
            self._processes[stat.pid] = _Process(stat.pid, stat.start_ticks, stat.cpu_ticks, None)
            age_s = uptime_s - stat.start_ticks / _TICKS_PER_S
            self._group(stat).recent_ticks += stat.cpu_ticks * min(1.0, _WINDOW_S / max(age_s, 1.0))

    def _group(self, stat: _Stat) -> _Group:
        # What cannot be written as a label value must not make two groups that are written alike.
        name = stat.command.decode("utf-8", "replace")
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = self._ended.pop(name, _Group(name))
        return group

    def _count_cpu(self, stats: list[_Stat]) -> None:
        now_s = self._clock()
        kept = math.exp((self._time_s - now_s) / _WINDOW_S)
        self._time_s = now_s
        for group in self._groups.values():
            group.recent_ticks *= kept
            group.pages = 0
            group.processes = []
        processes: dict[str, _Process] = {}
        for stat in stats:
            group = self._group(stat)
            process = self._processes.get(stat.pid)
            if process is None or process.start_ticks != stat.start_ticks:
                process = _Process(stat.pid, stat.start_ticks, 0, (0, 0))
            used = max(stat.cpu_ticks - process.cpu_ticks, 0)
            process.cpu_ticks += used
            processes[stat.pid] = process
            group.cpu_ticks += used
            group.recent_ticks += used
            group.pages += stat.pages
            group.processes.append(process)
        self._processes = processes

    def _rank(self) -> list[_Group]:
        """The groups to serve, by name."""
        cpu_ticks = max(sum(group.recent_ticks for group in self._groups.values()), _IDLE_S * _TICKS_PER_S)
        pages = max(sum(group.pages for group in self._groups.values()), 1)

        def rank(group: _Group) -> tuple[float, str]:
            share = group.recent_ticks / cpu_ticks + group.pages / pages
            return -share * (_STAY if group.name in self._top else 1.0), group.name

        alive = [group for group in self._groups.values() if group.processes or group.recent_ticks >= 1]
        top = sorted(alive, key=rank)[: self._count]
        self._top = {group.name for group in top}
        for group in top:
            group.was_served = True
        self._retire()
        return sorted(top, key=lambda group: group.name)

    def _retire(self) -> None:
        """Put groups without processes away, unless they are served; those that never were are forgotten."""
        for name, group in list(self._groups.items()):
            if group.processes or name in self._top:
                continue
            del self._groups[name]
            if group.was_served:
                group.recent_ticks = 0.0
                self._ended[name] = group
        while len(self._ended) > _REMEMBERED_GROUPS:
            del self._ended[next(iter(self._ended))]

    def _open_files(self, group: _Group) -> int | None:
        """None where one of the processes may not be looked at."""
        count = 0
        for process in group.processes:
            try:
                count += len(os.listdir(f"{self._procfs}/{process.pid}/fd"))
            except (FileNotFoundError, ProcessLookupError):
                continue
            except PermissionError:
                return None
        return count

    def _count_io(self, group: _Group) -> None:
        """Not known where one of the processes may not be looked at, or the kernel does not count."""
        for process in group.processes:
            try:
                read_bytes, written_bytes = _io_bytes(f"{self._procfs}/{process.pid}/io")
            except (FileNotFoundError, ProcessLookupError):
                continue
            except PermissionError:
                group.has_io = False
                return
            known_read, known_written = process.io_bytes or (read_bytes, written_bytes)
            group.read_bytes += max(read_bytes - known_read, 0)
            group.written_bytes += max(written_bytes - known_written, 0)
            process.io_bytes = read_bytes, written_bytes
            group.has_io = True


def _stats(procfs: str) -> Iterator[_Stat]:
    """All processes but the kernel's own threads, those that have ended, and those that /proc hides (hidepid)."""
    for pid in os.listdir(procfs):
        if not pid.isdecimal():
            continue
        path = f"{procfs}/{pid}/stat"
        try:
            content = _read(path)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        # The command may hold blanks and parentheses itself.
        start, end = content.find(b"("), content.rfind(b")")
        fields = content[end + 1 :].split(maxsplit=22)
        try:
            if not int(fields[6]) & _KERNEL_THREAD and fields[0] != _ZOMBIE:
                cpu_ticks = int(fields[11]) + int(fields[12])
                yield _Stat(pid, int(fields[19]), content[start + 1 : end], cpu_ticks, int(fields[21]))
        except (IndexError, ValueError) as error:
            raise ValueError(f"{path}: {content[:200]!r} is no state of a process") from error


def _io_bytes(path: str) -> tuple[int, int]:
    """What a process has had read and written from and to storage."""
    values = dict(line.split(b": ") for line in _read(path).splitlines())
    return int(values[b"read_bytes"]), int(values[b"write_bytes"])


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, _STAT_BYTES)
    finally:
        os.close(file)


def _families(groups: list[_Group], open_files: dict[str, int | None]) -> Iterator[Family]:
    prefix = "node_processes_top"
    cpu = Family(f"{prefix}_cpu_seconds_total", "counter", "CPU time that the group's processes used.")
    memory = Family(f"{prefix}_resident_memory_bytes", "gauge", "Resident memory, pages shared counted for each.")
    read = Family(f"{prefix}_read_bytes_total", "counter", "Bytes that storage was read for the group's processes.")
    written = Family(f"{prefix}_written_bytes_total", "counter", "Bytes that the group's processes wrote to storage.")
    files = Family(f"{prefix}_open_files", "gauge", "Open file descriptors of the group's processes.")
    processes = Family(f"{prefix}_processes", "gauge", "Processes of the group.")
    for group in groups:
        labels = label_text(groupname=group.name)
        cpu.add(group.cpu_ticks / _TICKS_PER_S, labels)
        memory.add(group.pages * _PAGE_BYTES, labels)
        if group.has_io:
            read.add(group.read_bytes, labels)
            written.add(group.written_bytes, labels)
        opened = open_files[group.name]
        if opened is not None:
            files.add(opened, labels)
        processes.add(len(group.processes), labels)
    yield from (cpu, memory, read, written, files, processes)
