"""Temperatures, fans, voltages and the like, as lm-sensors reads them (kernel: hwmon/sysfs-interface.rst).

A chip is a directory with files like `temp1_input`: kind of sensor, its number, what is told. Which files there are is
found once for each chip, and again when its directory changes.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from exporter.collectors.sysfs import attribute, devices
from exporter.filters import Filter
from exporter.roots import Roots
from exposition.writer import Family, label_text

_FILE = re.compile(r"([^0-9]+)([0-9]*)(?:_(.+))?")
_KINDS = frozenset(
    (
        "vrm",
        "beep_enable",
        "update_interval",
        "in",
        "cpu",
        "fan",
        "pwm",
        "temp",
        "curr",
        "power",
        "energy",
        "humidity",
        "intrusion",
        "freq",
    )
)
_NOT_IN_NAMES = re.compile("[^a-z0-9:_]")

# Kind -> name, help and factor of the sensors that are a single number of the chip.
_WHOLE_CHIP = {
    "beep_enable": ("beep_enabled", "Hardware beep enabled", 1.0),
    "vrm": ("voltage_regulator_version", "Hardware voltage regulator", 1.0),
    "update_interval": ("update_interval_seconds", "Hardware monitor update interval", 0.001),
}
# Kind -> unit behind the name, divisor to it, and help.
_UNITS = {
    "in": ("_volts", 1e3, "Hardware monitor for voltage ({})"),
    "cpu": ("_volts", 1e3, "Hardware monitor for voltage ({})"),
    "temp": ("_celsius", 1e3, "Hardware monitor for temperature ({})"),
    "curr": ("_amps", 1e3, "Hardware monitor for current ({})"),
    "energy": ("_joule_total", 1e6, "Hardware monitor for joules used so far ({})"),
    "power": ("_watt", 1e6, "Hardware monitor for power usage in watts ({})"),
    "humidity": (
        "",
        1e6,
        "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a percentage) ({})",
    ),
}
_INTERVALS = ("average_interval", "average_interval_min", "average_interval_max")
_TURNING = ("input", "min", "max", "target")


class HwmonOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the hwmon collector. Sensors are matched as `chip;sensor`."""

    chip_include: str = ""
    chip_exclude: str = ""
    sensor_include: str = ""
    sensor_exclude: str = ""


@dataclass(frozen=True, slots=True)
class _Metric:
    """Where the number of a metric is read, and what it is: file, name, type, help, divisor, labels."""

    directory: str
    file: str
    name: str
    kind: str
    help: str
    divisor: float
    labels: str


@dataclass(frozen=True, slots=True)
class _Chip:
    """What is known of a chip; `seen` are the modification times of its directories."""

    seen: tuple[int, ...]
    names: str
    labels: list[str]
    metrics: list[_Metric]


class HwmonCollector:
    """`node_hwmon_*`."""

    def __init__(self, roots: Roots, options: HwmonOptions) -> None:
        self._directory = os.fspath(roots.sysfs / "class/hwmon")
        self._chips_wanted = Filter(options.chip_include, options.chip_exclude)
        self._sensors_wanted = Filter(options.sensor_include, options.sensor_exclude)
        self._chips: dict[str, _Chip] = {}

    def collect(self) -> Iterator[Family]:
        """See registry.Collector. A sensor that gives no number is left out."""
        families: dict[str, Family] = {}
        names = Family("node_hwmon_chip_names", "gauge", "Annotation metric for human-readable chip names")
        sensor_labels = Family("node_hwmon_sensor_label", "gauge", "Label for given chip and sensor")
        for device in devices(self._directory, "hwmon"):
            chip = self._chip(f"{self._directory}/{device}")
            if chip is None:
                continue
            if chip.names:
                names.add(1, chip.names)
            for labels in chip.labels:
                sensor_labels.add(1, labels)
            for metric in chip.metrics:
                _add(families, metric)
        yield names
        yield sensor_labels
        yield from families.values()

    def _chip(self, directory: str) -> _Chip | None:
        name = _chip_name(directory)
        if not self._chips_wanted.allows(name):
            return None
        places = [place for place in (directory, f"{directory}/device") if os.access(place, os.R_OK)]
        seen = tuple(os.stat(place).st_mtime_ns for place in places)
        known = self._chips.get(directory)
        if known is None or known.seen != seen:
            known = self._chips[directory] = self._learn(directory, name, places, seen)
        return known

    def _learn(self, directory: str, chip: str, places: list[str], seen: tuple[int, ...]) -> _Chip:
        sensors: dict[str, dict[str, str]] = {}
        for place in places:
            for file in devices(place):
                match = _FILE.fullmatch(file)
                if match and match[1] in _KINDS:
                    # The chip's own directory comes first; older drivers have the files with the device.
                    sensors.setdefault(f"{match[1]}{match[2].lstrip('0') or 0}", {})[match[3] or ""] = place
        names = _clean(attribute(directory, "name") or "")
        found = _Chip(seen, label_text(chip=chip, chip_name=names) if names else "", [], [])
        for sensor, elements in sensors.items():
            if self._sensors_wanted.allows(f"{chip};{sensor}"):
                self._learn_sensor(found, chip, sensor, elements)
        return found

    def _learn_sensor(self, found: _Chip, chip: str, sensor: str, elements: dict[str, str]) -> None:
        kind = sensor.rstrip("0123456789")
        number = sensor.removeprefix(kind)
        label = attribute(elements["label"], f"{sensor}_label") or "" if "label" in elements else ""
        if label:
            found.labels.append(label_text(chip=chip, label=label, sensor=sensor))
        # The clocks of a GPU are known by their labels alone.
        shown = _clean(label) if kind == "freq" and label else sensor
        labels = label_text(chip=chip, sensor=shown)
        for element, place in elements.items():
            if element == "label":
                continue
            file = f"{sensor}_{element}" if element else sensor if os.path.exists(f"{place}/{sensor}") else kind
            if kind == "freq" and (element != "input" or not label):
                continue
            name, metric_type, text, divisor = _described(kind, number, element, elements)
            found.metrics.append(_Metric(place, file, f"node_hwmon_{name}", metric_type, text, divisor, labels))


def _described(kind: str, number: str, element: str, elements: dict[str, str]) -> tuple[str, str, str, float]:
    """Name behind node_hwmon_, type, help and divisor of one number of a sensor."""
    if kind in _WHOLE_CHIP:
        name, text, factor = _WHOLE_CHIP[kind]
        return name, "gauge", text, 1 / factor
    if kind == "freq":
        return "freq_freq_mhz", "gauge", "Hardware monitor for GPU frequency in MHz", 1e6
    name = kind
    if element == "input":
        name += "_input" if "" in elements else ""
    elif element:
        name += f"_{_clean(element)}"
    if element in ("fault", "alarm"):
        return name, "gauge", f"Hardware sensor {element} status ({kind})", 1
    if element == "beep":
        return f"{name}_enabled", "gauge", "Hardware monitor sensor has beeping enabled", 1
    if kind == "power" and element == "accuracy":
        return name, "gauge", "Hardware monitor power meter accuracy, as a ratio", 1e6
    if kind == "power" and element in _INTERVALS:
        return f"{name}_seconds", "gauge", f"Hardware monitor power usage update interval ({element})", 1e3
    if kind in _UNITS and not (kind == "temp" and element == "type"):
        unit, divisor, text = _UNITS[kind]
        metric_type = "counter" if kind == "energy" else "gauge"
        return name + unit, metric_type, text.format(element), divisor
    if kind == "fan" and element in _TURNING:
        return f"{name}_rpm", "gauge", f"Hardware monitor for fan revolutions per minute ({element})", 1
    return name, "gauge", f"Hardware monitor {kind} element {element}", 1


def _add(families: dict[str, Family], metric: _Metric) -> None:
    text = attribute(metric.directory, metric.file)
    try:
        value = float(text or "")
    except ValueError:
        return  # An accuracy of `95%`, a sensor that is not connected.
    if metric.name not in families:
        families[metric.name] = Family(metric.name, metric.kind, metric.help)
    families[metric.name].add(value / metric.divisor, metric.labels)


def _chip_name(directory: str) -> str:
    """A name that stays the same when modules load in another order: that of the device, or what the chip says."""
    device = os.path.realpath(f"{directory}/device")
    if os.path.isdir(device):
        bus, name = os.path.split(device)
        parts = [_clean(os.path.basename(bus)), _clean(name)]
        if parts[1]:
            return "_".join(filter(None, parts))
    name = _clean(attribute(directory, "name") or "")
    return name or _clean(os.path.basename(os.path.realpath(directory)))


def _clean(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text.lower()).strip("_")
