"""Seconds that each CPU spent in each mode (proc_stat(5)), throttling (sysfs), and what kind of CPU it is (cpuinfo)."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from exporter.collectors.sysfs import attribute, cpu_list, number, numbered
from exporter.filters import Filter
from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

_USER_HZ = 100
"""Ticks per second in /proc, on every architecture that Linux has today."""

MODES = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"]
_GUEST_MODES = ["user", "nice"]
_IDLE = MODES.index("idle")
_HOTPLUG_JUMP = 3 * _USER_HZ
"""Idle time that falls by as much was set back on purpose, for a CPU that was taken out and put back."""

# Label of node_cpu_info -> field of /proc/cpuinfo.
_INFO_FIELDS = {
    "package": "physical id",
    "core": "core id",
    "cpu": "processor",
    "vendor": "vendor_id",
    "family": "cpu family",
    "model": "model",
    "model_name": "model name",
    "microcode": "microcode",
    "stepping": "stepping",
    "cachesize": "cache size",
}


class CpuOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the cpu collector. Either pattern switches `info` on."""

    guest: bool = True
    info: bool = False
    info_flags_include: str = ""
    info_bugs_include: str = ""


def seconds_family() -> Family:
    """`node_cpu_seconds_total`, still empty."""
    return Family("node_cpu_seconds_total", "counter", "Seconds the CPUs spent in each mode.")


class CpuCollector:
    """`node_cpu_seconds_total`, `node_cpu_guest_seconds_total`, `node_cpu_*_throttles_total`, `node_cpu_info`."""

    def __init__(self, roots: Roots, options: CpuOptions) -> None:
        self._stat = roots.procfs / "stat"
        self._guest = options.guest
        self._ticks: dict[str, list[int]] = {}
        self._labels: dict[str, list[str]] = {}
        self._throttling = _Throttling(roots.sysfs / "devices/system/cpu")
        wanted = options.info or options.info_flags_include or options.info_bugs_include
        self._info = _Info(roots.procfs / "cpuinfo", options) if wanted else None

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        if self._info is not None:
            yield from self._info.families()
        self._read_ticks()
        seconds = seconds_family()
        guest = Family(
            "node_cpu_guest_seconds_total", "counter", "Seconds the CPUs spent in guests (VMs) for each mode."
        )
        for cpu, ticks in self._ticks.items():
            labels = self._labels[cpu]
            for text, value in zip(labels, ticks, strict=False):
                seconds.add(value / _USER_HZ, text)
            for text, value in zip(labels, ticks[len(MODES) :] if self._guest else (), strict=False):
                guest.add(value / _USER_HZ, text)
        yield guest
        yield seconds
        yield from self._throttling.families(len(self._ticks))

    def _read_ticks(self) -> None:
        """Counters never go back: the kernel corrects its sums now and then, which would look like a reset."""
        for line_number, line in enumerate(read_text(self._stat).splitlines(), start=1):
            if not line.startswith("cpu"):
                break
            name, *columns = line.split()
            cpu = name.removeprefix("cpu")
            if not cpu:
                continue  # The sum of all.
            try:
                ticks = [int(column) for column in columns]
                before = self._ticks.get(cpu)
                if before is not None and before[_IDLE] - ticks[_IDLE] < _HOTPLUG_JUMP:
                    ticks = [max(pair) for pair in zip(before, ticks, strict=True)]
            except (ValueError, IndexError) as error:
                raise ValueError(f"{self._stat}, line {line_number}: {error}") from error
            self._ticks[cpu] = ticks
            if cpu not in self._labels:
                self._labels[cpu] = [label_text(cpu=cpu, mode=mode) for mode in MODES]


class _Throttling:
    """How often CPUs were slowed down for their heat; which files tell is found once for a set of CPUs."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cpus = -1
        self._cores: dict[str, str] = {}
        self._packages: dict[str, str] = {}
        self._isolated: list[str] = []
        self._hotplug: dict[int, str] = {}

    def families(self, cpus: int) -> Iterator[Family]:
        if cpus != self._cpus:
            self._find()
            self._cpus = cpus
        core = Family("node_cpu_core_throttles_total", "counter", "Number of times this CPU core has been throttled.")
        package = Family(
            "node_cpu_package_throttles_total", "counter", "Number of times this CPU package has been throttled."
        )
        for family, name, found in (
            (core, "core_throttle_count", self._cores),
            (package, "package_throttle_count", self._packages),
        ):
            for labels, directory in found.items():
                count = number(directory, name)
                if count is not None:
                    family.add(count, labels)
            yield family
        help_text = "Whether each core is isolated, information from /sys/devices/system/cpu/isolated."
        isolated = Family("node_cpu_isolated", "gauge", help_text)
        for labels in self._isolated:
            isolated.add(1, labels)
        yield isolated
        if self._hotplug:
            yield self._online()

    def _online(self) -> Family:
        family = Family("node_cpu_online", "gauge", "CPUs that are online and being scheduled.")
        directory = os.fspath(self._directory)
        online = set(cpu_list(attribute(directory, "online") or "", f"{directory}/online"))
        for cpu, labels in self._hotplug.items():
            family.add(int(cpu in online), labels)
        return family

    def _find(self) -> None:
        """The threads of a core share its count, the cores of a package share the package's."""
        self._cores.clear()
        self._packages.clear()
        self._hotplug.clear()
        for cpu in sorted(self._directory.glob("cpu[0-9]*")):
            package, core = number(f"{cpu}/topology", "physical_package_id"), number(f"{cpu}/topology", "core_id")
            throttle = f"{cpu}/thermal_throttle"
            if package is not None and core is not None and os.path.isdir(throttle):
                self._cores.setdefault(label_text(core=str(core), package=str(package)), throttle)
                self._packages.setdefault(label_text(package=str(package)), throttle)
        # Where the first CPU cannot be taken out, as is usual, node_exporter does not tell of the others either.
        if (self._directory / "cpu0/online").exists():
            numbers = [int(name[3:]) for name in numbered(os.fspath(self._directory), "cpu")]
            self._hotplug = {cpu: label_text(cpu=str(cpu)) for cpu in numbers}
        isolated = attribute(os.fspath(self._directory), "isolated") or ""
        self._isolated = [label_text(cpu=str(cpu)) for cpu in cpu_list(isolated, f"{self._directory}/isolated")]


class _Info:
    """What /proc/cpuinfo says; the flags and bugs of the first CPU stand for all."""

    def __init__(self, path: Path, options: CpuOptions) -> None:
        self._path = path
        self._lists = [
            ("flag", "flags", Filter(options.info_flags_include) if options.info_flags_include else None),
            ("bug", "bugs", Filter(options.info_bugs_include) if options.info_bugs_include else None),
        ]

    def families(self) -> Iterator[Family]:
        cpus = [self._fields(part) for part in read_text(self._path).split("\n\n") if part.strip()]
        info = Family("node_cpu_info", "gauge", "CPU information from /proc/cpuinfo.")
        for cpu in cpus:
            info.add(1, label_text(**{label: cpu.get(field, "") for label, field in _INFO_FIELDS.items()}))
        yield info
        for label, field, chosen in self._lists:
            if chosen is None or not cpus:
                continue
            help_text = f"The `{field}` field of CPU information from /proc/cpuinfo taken from the first core."
            family = Family(f"node_cpu_{label}_info", "gauge", help_text)
            for name in filter(chosen.allows, cpus[0].get(field, "").split()):
                family.add(1, label_text(**{label: name}))
            yield family

    def _fields(self, part: str) -> dict[str, str]:
        pairs = (line.partition(":") for line in part.splitlines())
        return {name.strip(): value.strip() for name, _, value in pairs}
