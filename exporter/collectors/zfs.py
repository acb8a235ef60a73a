"""What ZFS says of its caches, pools and data sets (OpenZFS: /proc/spl/kstat/zfs, spl-module-parameters(4))."""

from collections.abc import Iterator
from pathlib import Path

from exporter.errors import NoDataError
from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

# File -> subsystem in the names of its metrics. Releases of ZFS differ in which of them there are.
_FILES = {
    "abdstats": "zfs_abd",
    "arcstats": "zfs_arc",
    "dbufstats": "zfs_dbuf",
    "dmu_tx": "zfs_dmu_tx",
    "dnodestats": "zfs_dnode",
    "fm": "zfs_fm",
    "vdev_cache_stats": "zfs_vdev_cache",
    "vdev_mirror_stats": "zfs_vdev_mirror",
    "xuio_stats": "zfs_xuio",
    "zfetchstats": "zfs_zfetch",
    "zil": "zfs_zil",
}
_POOL_STATES = ["online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"]

# Types of a named kstat (sys/kstat.h).
_INT64, _UINT64 = "3", "4"
_NAMED_HEADER = ["name", "type", "data"]

_Row = tuple[str, str, str]


class ZfsCollector:
    """`node_zfs_*`."""

    def __init__(self, roots: Roots) -> None:
        self._kstat = roots.procfs / "spl/kstat/zfs"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        if not self._kstat.exists():
            raise NoDataError(f"the kernel module of ZFS is not loaded: {self._kstat} does not exist")
        for file, subsystem in _FILES.items():
            yield from _module_families(self._kstat / file, subsystem)
        families: dict[str, Family] = {}
        for io in sorted(self._kstat.glob("*/io")):
            _add_pool_io(families, io)
        for objset in sorted(self._kstat.glob("*/objset-*")):
            _add_dataset(families, objset)
        yield from families.values()
        yield self._states()

    def _states(self) -> Family:
        states = Family("node_zfs_zpool_state", "gauge", "kstat.zfs.misc.state")
        for path in sorted(self._kstat.glob("*/state")):
            current = (_read_if_there(path) or "").strip().lower()
            for state in _POOL_STATES if current else ():
                states.add(int(state == current), label_text(zpool=path.parent.name, state=state))
        return states


def _module_families(path: Path, subsystem: str) -> Iterator[Family]:
    text = _read_if_there(path)
    for name, kind, data in _named_rows(path, text) if text is not None else ():
        if kind in (_INT64, _UINT64):
            yield _family(subsystem, f"{path.name}.{name}", _integer(path, name, data))


def _add_pool_io(families: dict[str, Family], path: Path) -> None:
    """Add a pool's `io`: a line of names, a line of numbers."""
    text = _read_if_there(path)
    if text is None:
        return
    rows = [line.split() for line in text.splitlines()]
    header = next((number for number, row in enumerate(rows) if row[:1] == ["nread"]), None)
    labels = label_text(zpool=path.parent.name)
    for row in rows[header + 1 :] if header is not None else ():
        for name, number in zip(rows[header or 0], row, strict=True):
            _add(families, "zfs_zpool", f"io.{name}", _integer(path, name, number), labels)


def _add_dataset(families: dict[str, Family], path: Path) -> None:
    text = _read_if_there(path)
    labels = ""
    for name, kind, data in _named_rows(path, text) if text is not None else ():
        if name == "dataset_name":
            labels = label_text(zpool=path.parent.name, dataset=data)
        elif kind == _UINT64:
            _add(families, "zfs_zpool_dataset", f"objset.{name}", _integer(path, name, data), labels)


def _named_rows(path: Path, text: str) -> Iterator[_Row]:
    """The rows below the line `name type data`. Raises ValueError where there is none."""
    rows = iter(text.splitlines())
    if not any(line.split() == _NAMED_HEADER for line in rows):
        raise ValueError(f"{path} has no line 'name type data'")
    for line in rows:
        # Names of data sets may hold blanks.
        fields = line.split(None, 2)
        if len(fields) == 3:
            yield fields[0], fields[1], fields[2].rstrip()


def _integer(path: Path, name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{path}, {name}: {error}") from error


def _read_if_there(path: Path) -> str | None:
    """A pool that is exported just now takes its files along."""
    try:
        return read_text(path)
    except FileNotFoundError:
        return None


def _family(subsystem: str, key: str, value: int, labels: str = "") -> Family:
    name = key.rpartition(".")[2].replace("-", "_")
    return Family.single(f"node_{subsystem}_{name}", "unknown", f"kstat.zfs.misc.{key}", value, labels)


def _add(families: dict[str, Family], subsystem: str, key: str, value: int, labels: str) -> None:
    qualified = f"{subsystem}.{key}"
    if qualified in families:
        families[qualified].add(value, labels)
    else:
        families[qualified] = _family(subsystem, key, value, labels)
