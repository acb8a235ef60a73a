"""Open file handles of the whole host, and how many there may be (proc_sys_fs(5), file-nr)."""

from collections.abc import Iterator

from exporter.collectors.lines import integers, parse_lines
from exporter.roots import Roots
from exposition.writer import Family


class FilefdCollector:
    """`node_filefd_allocated`, `node_filefd_maximum`."""

    def __init__(self, roots: Roots) -> None:
        self._file_nr = roots.procfs / "sys/fs/file-nr"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        # The second number, of unused handles, has been 0 since Linux 2.6.
        ((allocated, _unused, maximum),) = parse_lines(self._file_nr, lambda line: integers(line, 3))
        for name, count in ("allocated", allocated), ("maximum", maximum):
            yield Family.single(f"node_filefd_{name}", "gauge", f"File descriptor statistics: {name}.", count)
