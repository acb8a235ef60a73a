"""Counters of the virtual memory (/proc/vmstat), those that the option `fields` names."""

from collections.abc import Iterator

import msgspec

from exporter.collectors.lines import parse_lines
from exporter.filters import Filter, shipped
from exporter.roots import Roots
from exposition.writer import Family


class VmstatOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the vmstat collector."""

    fields: str = shipped("^(oom_kill|pgpg|pswp|pg.*fault).*")


class VmstatCollector:
    """`node_vmstat_*`."""

    def __init__(self, roots: Roots, options: VmstatOptions) -> None:
        self._vmstat = roots.procfs / "vmstat"
        self._fields = Filter(include=options.fields)

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        yield from filter(None, parse_lines(self._vmstat, self._family))

    def _family(self, line: str) -> Family | None:
        field, _, number = line.partition(" ")
        if not self._fields.allows(field):
            return None
        return Family.single(f"node_vmstat_{field}", "unknown", f"/proc/vmstat information field {field}.", int(number))
