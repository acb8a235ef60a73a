"""What uname(2) says of the system."""

import os
from collections.abc import Iterator

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text


class UnameCollector:
    """`node_uname_info`."""

    def __init__(self, roots: Roots) -> None:
        # Python's uname leaves this one out.
        self._domainname = roots.procfs / "sys/kernel/domainname"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        system = os.uname()
        labels = label_text(
            domainname=read_text(self._domainname).strip(),
            machine=system.machine,
            nodename=system.nodename,
            release=system.release,
            sysname=system.sysname,
            version=system.version,
        )
        help_text = "Labeled system information as provided by the uname system call."
        yield Family("node_uname_info", "gauge", help_text, [(labels, 1)])
