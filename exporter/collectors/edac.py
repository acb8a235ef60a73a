"""Memory errors that were found, by controller and row of chips (kernel: Documentation/admin-guide/ras.rst)."""

import os
from collections.abc import Iterator

from exporter.collectors.sysfs import numbered, read_unsigned
from exporter.roots import Roots
from exposition.writer import Family, label_text


class EdacCollector:
    """`node_edac_*_total`. A machine without such hardware has no series, which is no failure."""

    def __init__(self, roots: Roots) -> None:
        self._directory = os.fspath(roots.sysfs / "devices/system/edac/mc")

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        for prefix, kind in [("ce", "correctable"), ("ue", "uncorrectable")]:
            total = Family(f"node_edac_{kind}_errors_total", "counter", f"Total {kind} memory errors.")
            rows = Family(
                f"node_edac_csrow_{kind}_errors_total", "counter", f"Total {kind} memory errors for this csrow."
            )
            for name in numbered(self._directory, "mc"):
                self._add(name, prefix, total, rows)
            yield total
            yield rows

    def _add(self, name: str, prefix: str, total: Family, rows: Family) -> None:
        directory, controller = f"{self._directory}/{name}", name.removeprefix("mc")
        total.add(read_unsigned(f"{directory}/{prefix}_count"), label_text(controller=controller))
        labels = label_text(controller=controller, csrow="unknown")
        rows.add(read_unsigned(f"{directory}/{prefix}_noinfo_count"), labels)
        for row in numbered(directory, "csrow"):
            labels = label_text(controller=controller, csrow=row.removeprefix("csrow"))
            rows.add(read_unsigned(f"{directory}/{row}/{prefix}_count"), labels)
