"""What each XFS file system did (kernel: Documentation/admin-guide/xfs.rst, fs/xfs/xfs_stats.h)."""

from collections.abc import Iterator

from exporter.collectors.lines import parse_lines
from exporter.roots import Roots
from exposition.writer import Family, label_text

_BTREE = ["lookups", "compares", "records_inserted", "records_deleted"]

# Row of the statistics -> metrics behind node_xfs_ of its numbers in order, without `_total`, and their help.
_ROWS: dict[str, list[tuple[str, str]]] = {
    "extent_alloc": [
        (f"extent_allocation_{units}_{action}", f"Number of {units} {action} for a filesystem.")
        for action in ("allocated", "freed")
        for units in ("extents", "blocks")
    ],
    "abt": [
        (f"allocation_btree_{what}", f"Number of allocation B-tree {what.replace('_', ' ')} for a filesystem.")
        for what in _BTREE
    ],
    "blk_map": [
        ("block_mapping_reads", "Number of block map for read operations for a filesystem."),
        ("block_mapping_writes", "Number of block map for write operations for a filesystem."),
        ("block_mapping_unmaps", "Number of block unmaps (deletes) for a filesystem."),
        *(
            (f"block_mapping_extent_list_{what}", f"Number of extent list {what} for a filesystem.")
            for what in ("insertions", "deletions", "lookups", "compares")
        ),
    ],
    "bmbt": [
        (f"block_map_btree_{what}", f"Number of block map B-tree {what.replace('_', ' ')} for a filesystem.")
        for what in _BTREE
    ],
    "dir": [
        (
            "directory_operation_lookup",
            "Number of file name directory lookups which miss the operating systems directory name lookup cache.",
        ),
        ("directory_operation_create", "Number of times a new directory entry was created for a filesystem."),
        ("directory_operation_remove", "Number of times an existing directory entry was created for a filesystem."),
        (
            "directory_operation_getdents",
            "Number of times the directory getdents operation was performed for a filesystem.",
        ),
    ],
    "ig": [
        ("inode_operation_attempts", "Number of times the OS looked for an XFS inode in the inode cache."),
        ("inode_operation_found", "Number of times the OS looked for and found an XFS inode in the inode cache."),
        (
            "inode_operation_recycled",
            "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled.",
        ),
        (
            "inode_operation_missed",
            "Number of times the OS looked for an XFS inode in the cache, but did not find it.",
        ),
        (
            "inode_operation_duplicates",
            "Number of times the OS tried to add a missing XFS inode to the inode cache, "
            "but found it had already been added by another process.",
        ),
        (
            "inode_operation_reclaims",
            "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose.",
        ),
        (
            "inode_operation_attribute_changes",
            "Number of times the OS explicitly changed the attributes of an XFS inode.",
        ),
    ],
    "rw": [
        ("write_calls", "Number of write(2) system calls made to files in a filesystem."),
        ("read_calls", "Number of read(2) system calls made to files in a filesystem."),
    ],
    "vnodes": [
        ("vnode_active", "Number of vnodes not on free lists for a filesystem."),
        *(
            (f"vnode_{name}", f"Number of times {function} called for a filesystem.")
            for name, function in (
                ("allocate", "vn_alloc"),
                ("get", "vn_get"),
                ("hold", "vn_hold"),
                ("release", "vn_rele"),
                ("reclaim", "vn_reclaim"),
                ("remove", "vn_remove"),
            )
        ),
    ],
}


class XfsCollector:
    """`node_xfs_*`; nothing without a mounted XFS file system."""

    def __init__(self, roots: Roots) -> None:
        self._xfs = roots.sysfs / "fs/xfs"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        families = {
            name: Family(f"node_xfs_{name}_total", "counter", help_text)
            for metrics in _ROWS.values()
            for name, help_text in metrics
        }
        for stats in sorted(self._xfs.glob("*/stats/stats")):
            labels = label_text(device=stats.parts[-3])
            for row, numbers in parse_lines(stats, _row):
                # Kernels append numbers to a row, as the free vnodes.
                for (name, _), number in zip(_ROWS.get(row, ()), numbers, strict=False):
                    families[name].add(number, labels)
        yield from families.values()


def _row(line: str) -> tuple[str, list[int]]:
    name, *numbers = line.split()
    return name, [int(number) for number in numbers]
