"""How fast each CPU runs and may run (kernel: Documentation/admin-guide/pm/cpufreq.rst), which /sys has in kHz."""

import os
from collections.abc import Iterator

from exporter.collectors.sysfs import cpu_list, numbered, read_attribute, read_unsigned
from exporter.roots import Roots
from exposition.writer import Family, label_text

# Attribute -> name behind node_cpu_, help.
_FREQUENCIES = {
    "cpuinfo_cur_freq": ("frequency_hertz", "Current CPU thread frequency in hertz."),
    "cpuinfo_min_freq": ("frequency_min_hertz", "Minimum CPU thread frequency in hertz."),
    "cpuinfo_max_freq": ("frequency_max_hertz", "Maximum CPU thread frequency in hertz."),
    "scaling_cur_freq": ("scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz."),
    "scaling_min_freq": ("scaling_frequency_min_hertz", "Minimum scaled CPU thread frequency in hertz."),
    "scaling_max_freq": ("scaling_frequency_max_hertz", "Maximum scaled CPU thread frequency in hertz."),
}
_KILO = 1000


class CpufreqCollector:
    """`node_cpu_frequency_*`, `node_cpu_scaling_*`."""

    def __init__(self, roots: Roots) -> None:
        self._cpus = os.fspath(roots.sysfs / "devices/system/cpu")

    def collect(self) -> Iterator[Family]:
        """See registry.Collector. Offline CPUs are left out, as reading theirs fails."""
        families = {
            attribute: Family(f"node_cpu_{name}", "gauge", text) for attribute, (name, text) in _FREQUENCIES.items()
        }
        governor = Family("node_cpu_scaling_governor", "gauge", "Current enabled CPU frequency governor.")
        offline_path = f"{self._cpus}/offline"
        offline = set(cpu_list(read_attribute(offline_path), offline_path))
        for name in numbered(self._cpus, "cpu"):
            cpu = name.removeprefix("cpu")
            directory = f"{self._cpus}/{name}/cpufreq"
            if int(cpu) in offline or not os.path.isdir(directory):
                continue
            labels = label_text(cpu=cpu)
            for attribute, family in families.items():
                try:
                    family.add(read_unsigned(f"{directory}/{attribute}") * _KILO, labels)
                except (FileNotFoundError, PermissionError):
                    continue  # Not every driver has all, and some are for root only.
            _add_governors(governor, cpu, directory)
        yield from families.values()
        yield governor


def _add_governors(family: Family, cpu: str, directory: str) -> None:
    enabled = read_attribute(f"{directory}/scaling_governor")
    if enabled:
        for governor in read_attribute(f"{directory}/scaling_available_governors").split(" "):
            family.add(int(governor == enabled), label_text(cpu=cpu, governor=governor))
