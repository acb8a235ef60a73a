"""What uname(2) says of the system."""

import os
from collections.abc import Iterator

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text


def uname_family(nodename: str, domainname: str) -> Family:
    """`node_uname_info` with the names of the host and its domain; the rest is as the system says."""
    system = os.uname()
    labels = label_text(
        domainname=domainname,
        machine=system.machine,
        nodename=nodename,
        release=system.release,
        sysname=system.sysname,
        version=system.version,
    )
    help_text = "Labeled system information as provided by the uname system call."
    return Family.single("node_uname_info", "gauge", help_text, 1, labels)


class UnameCollector:
    """`node_uname_info`."""

    def __init__(self, roots: Roots) -> None:
        # Python's uname leaves this one out.
        self._domainname = roots.procfs / "sys/kernel/domainname"

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        yield uname_family(os.uname().nodename, read_text(self._domainname).strip())
