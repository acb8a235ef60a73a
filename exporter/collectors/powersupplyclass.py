"""Batteries and other power supplies (kernel: Documentation/ABI/testing/sysfs-class-power)."""

import errno
import os
from collections.abc import Iterator

import msgspec

from exporter.collectors.sysfs import read_attribute, signed
from exporter.errors import NoDataError
from exporter.filters import Filter, shipped
from exporter.roots import Roots
from exposition.writer import Family, label_text

_MICRO = 1e6
_TENTH = 10.0

# Attribute -> name behind node_power_supply_, and what its value is divided by.
_NUMBERS = {
    "authentic": ("authentic", 1),
    "calibrate": ("calibrate", 1),
    "capacity": ("capacity", 1),
    "capacity_alert_max": ("capacity_alert_max", 1),
    "capacity_alert_min": ("capacity_alert_min", 1),
    "cycle_count": ("cyclecount", 1),
    "online": ("online", 1),
    "present": ("present", 1),
    "time_to_empty_now": ("time_to_empty_seconds", 1),
    "time_to_full_now": ("time_to_full_seconds", 1),
    "current_now": ("current_ampere", _MICRO),
    "energy_now": ("energy_watthour", _MICRO),
    "voltage_now": ("voltage_volt", _MICRO),
    "charge_now": ("charge_ampere", _MICRO),
    "power_now": ("power_watt", _MICRO),
    "temp": ("temp_celsius", _TENTH),
    "temp_alert_max": ("temp_alert_max_celsius", _TENTH),
    "temp_alert_min": ("temp_alert_min_celsius", _TENTH),
    "temp_ambient": ("temp_ambient_celsius", _TENTH),
    "temp_ambient_max": ("temp_ambient_max_celsius", _TENTH),
    "temp_ambient_min": ("temp_ambient_min_celsius", _TENTH),
    "temp_max": ("temp_max_celsius", _TENTH),
    "temp_min": ("temp_min_celsius", _TENTH),
}
# These are named as in /sys.
_MICRO_NUMBERS = [
    "current_boot",
    "current_max",
    "energy_empty",
    "energy_empty_design",
    "energy_full",
    "energy_full_design",
    "voltage_boot",
    "voltage_max",
    "voltage_max_design",
    "voltage_min",
    "voltage_min_design",
    "voltage_ocv",
    "charge_control_limit",
    "charge_control_limit_max",
    "charge_counter",
    "charge_empty",
    "charge_empty_design",
    "charge_full",
    "charge_full_design",
    "charge_term_current",
    "constant_charge_current",
    "constant_charge_current_max",
    "constant_charge_voltage",
    "constant_charge_voltage_max",
    "precharge_current",
    "input_current_limit",
]
_ALL_NUMBERS = _NUMBERS | {name: (name, _MICRO) for name in _MICRO_NUMBERS}
_TEXTS = {
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
    "scope",
}
# What drivers say of a value that this battery does not have.
_NOT_AVAILABLE = {errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP, errno.EINVAL}


class PowersupplyclassOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the powersupplyclass collector."""

    ignored_supplies: str = shipped("^$")


class PowersupplyclassCollector:
    """`node_power_supply_*`."""

    def __init__(self, roots: Roots, options: PowersupplyclassOptions) -> None:
        self._class = os.fspath(roots.sysfs / "class/power_supply")
        self._supplies = Filter(exclude=options.ignored_supplies)

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        try:
            supplies = sorted(os.listdir(self._class))
        except FileNotFoundError as error:
            raise NoDataError(f"{self._class} is not there") from error
        info = Family("node_power_supply_info", "gauge", "info of /sys/class/power_supply/<power_supply>.")
        numbers: dict[str, Family] = {}
        for supply in supplies:
            if self._supplies.allows(supply):
                texts = self._read(supply, numbers)
                info.add(1, label_text(power_supply=supply, **texts))
        yield info
        yield from numbers.values()

    def _read(self, supply: str, numbers: dict[str, Family]) -> dict[str, str]:
        """Add the supply's numbers to their families; gives its texts by attribute, less those that are empty."""
        texts = {}
        labels = label_text(power_supply=supply)
        for attribute in os.listdir(f"{self._class}/{supply}"):
            number = _ALL_NUMBERS.get(attribute)
            if number is None and attribute not in _TEXTS:
                continue
            path = f"{self._class}/{supply}/{attribute}"
            try:
                text = read_attribute(path)
            except OSError as error:
                if error.errno in _NOT_AVAILABLE:
                    continue
                raise
            if number is not None:
                name, divisor = number
                if name not in numbers:
                    numbers[name] = _number_family(name)
                numbers[name].add(signed(text, path) / divisor, labels)
            elif text:
                texts[attribute] = text
        return texts


def _number_family(name: str) -> Family:
    help_text = f"{name} value of /sys/class/power_supply/<power_supply>."
    return Family(f"node_power_supply_{name}", "gauge", help_text)
