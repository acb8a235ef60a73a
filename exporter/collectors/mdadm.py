"""The software RAIDs (/proc/mdstat, md(4)): their disks, their state, how far a repair has come."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from exporter.collectors.sysfs import number
from exporter.errors import NoDataError
from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

_ARRAY = re.compile(r"(?P<device>\S+) : (?P<activity>active|inactive)\b(?P<disks>.*)")
_DISK = re.compile(r"\S+\[\d+\](?:\((?P<flag>\w)\))?")
_BLOCKS = re.compile(r"\s+(\d+) blocks")
_COUNTS = re.compile(r"\[(\d+)/(\d+)\] \[[U_]+\]")
_PROGRESS = re.compile(r"(recovery|resync|check|reshape)\s*=\s*(?:[\d.]+%\s*\((\d+)/\d+\)|(?:PENDING|DELAYED))")

_STATES = ["active", "inactive", "recovering", "resync", "check"]
_ACTIVITIES = {"recovery": "recovering", "resync": "resync", "check": "check", "reshape": "reshaping"}
_DISK_STATES = {"active": "", "failed": "F", "spare": "S"}


@dataclass(slots=True)
class _Array:
    """What mdstat says of an array. `required` are the disks it should have."""

    device: str
    state: str
    disks: dict[str, int] = field(default_factory=dict)
    required: int = 0
    blocks: int = 0
    synced: int = 0


class MdadmCollector:
    """`node_md_*`."""

    def __init__(self, roots: Roots) -> None:
        self._mdstat = roots.procfs / "mdstat"
        self._block = os.fspath(roots.sysfs / "block")

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        try:
            text = read_text(self._mdstat)
        except FileNotFoundError as error:
            raise NoDataError(f"the kernel has no software RAID: {error}") from error
        state = Family("node_md_state", "gauge", "Indicates the state of md-device.")
        disks = Family("node_md_disks", "gauge", "Number of active/failed/spare disks of device.")
        required = Family("node_md_disks_required", "gauge", "Total number of disks of device.")
        blocks = Family("node_md_blocks", "gauge", "Total number of blocks on device.")
        synced = Family("node_md_blocks_synced", "gauge", "Number of blocks synced on device.")
        raid_disks = Family("node_md_raid_disks", "gauge", "Number of raid disks on device.")
        degraded = Family("node_md_degraded", "gauge", "Number of degraded disks on device.")
        for array in _read(self._mdstat, text):
            labels = label_text(device=array.device)
            for name in _STATES:
                state.add(int(name == array.state), label_text(device=array.device, state=name))
            for name in _DISK_STATES:
                disks.add(array.disks[name], label_text(device=array.device, state=name))
            required.add(array.required, labels)
            blocks.add(array.blocks, labels)
            synced.add(array.synced, labels)
            directory = f"{self._block}/{array.device}/md"
            members = number(directory, "raid_disks")
            if members is not None:
                raid_disks.add(members, labels)
                # A RAID without redundancy knows no such thing.
                degraded.add(number(directory, "degraded") or 0, labels)
        yield from (state, disks, required, blocks, synced, raid_disks, degraded)


def _read(path: Path, text: str) -> Iterator[_Array]:
    """The arrays: a line that names one and its disks, one with its size, and some that say what goes on."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        match = _ARRAY.match(line)
        if match is None:
            continue
        details = []
        for detail in lines[index + 1 :]:
            if not detail.strip():
                break
            details.append(detail)
        size = _BLOCKS.match(details[0]) if details else None
        if size is None:
            raise ValueError(f"{path}, line {index + 2}: the size of {match['device']} is missing")
        yield _array(match, int(size[1]), details)


def _array(match: re.Match[str], blocks: int, details: list[str]) -> _Array:
    flags = [disk["flag"] or "" for disk in _DISK.finditer(match["disks"])]
    array = _Array(match["device"], match["activity"], blocks=blocks, synced=blocks)
    array.disks = {name: flags.count(flag) for name, flag in _DISK_STATES.items()}
    array.required = array.disks["active"]
    counts = _COUNTS.search(details[0])
    if counts is not None:
        array.required, array.disks["active"] = int(counts[1]), int(counts[2])
    for detail in details[1:]:
        progress = _PROGRESS.search(detail)
        if progress is not None:
            array.state, array.synced = _ACTIVITIES[progress[1]], int(progress[2] or 0)
    return array
