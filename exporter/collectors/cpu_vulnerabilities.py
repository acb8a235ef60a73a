"""Which known CPU vulnerabilities there are and what the kernel does about them.

Kernel: Documentation/ABI/testing/sysfs-devices-system-cpu.
"""

import os
from collections.abc import Iterator

from exporter.collectors.sysfs import read_attribute
from exporter.roots import Roots
from exposition.writer import Family, label_text

_HELP = (
    "Details of each CPU vulnerability reported by sysfs. The value of the series is an int encoded state of the "
    "vulnerability. The same state is stored as a string in the label"
)
_STATES = ["Not affected", "Vulnerable", "Mitigation"]


class CpuVulnerabilitiesCollector:
    """`node_cpu_vulnerabilities_info`."""

    def __init__(self, roots: Roots) -> None:
        self._directory = os.fspath(roots.sysfs / "devices/system/cpu/vulnerabilities")

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        family = Family("node_cpu_vulnerabilities_info", "gauge", _HELP)
        try:
            names = sorted(os.listdir(self._directory))
        except FileNotFoundError:
            names = []  # Kernels before 4.15.
        for name in names:
            path = f"{self._directory}/{name}"
            state, mitigation = _parse(read_attribute(path), path)
            family.add(1, label_text(codename=name, state=state, mitigation=mitigation))
        yield family


def _parse(text: str, path: str) -> tuple[str, str]:
    for state in _STATES:
        if text.startswith(state):
            return state.lower(), text.removeprefix(state).removeprefix(": ")
    raise ValueError(f"{path}: {text!r} begins with none of {', '.join(_STATES)}")
