"""The states of systemd's units, over D-Bus (org.freedesktop.systemd1(5))."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.filters import Filter, shipped
from exporter.roots import Roots
from exposition.writer import Family, label_text

if TYPE_CHECKING:
    from exporter.collectors.dbus import Connection

INCLUDED_UNITS = ".+"
EXCLUDED_UNITS = r".+\.(automount|device|mount|scope|slice|target)"
"""node_exporter's defaults; a unit must match the one and not the other, with its whole name."""

_SERVICE = "org.freedesktop.systemd1"
_MANAGER_PATH = "/org/freedesktop/systemd1"
_TIMEOUT_S = 0.5
_STATES = ["active", "activating", "deactivating", "inactive", "failed"]
_VERSION = re.compile(r"[0-9]{3,}(\.[0-9]+)?")
_UNLIMITED = 2**64 - 1
"""What systemd says for a number that is not known or not limited."""
_US = 1e6
_START = "ActiveEnterTimestamp"

# Property -> name behind node_systemd_, type, divisor to the unit in the name, help.
_METRICS = {
    "NRestarts": ("service_restart_total", "counter", 1, "Service unit count of Restart triggers"),
    "TasksCurrent": ("unit_tasks_current", "gauge", 1, "Current number of tasks per Systemd unit"),
    "TasksMax": ("unit_tasks_max", "gauge", 1, "Maximum number of tasks per Systemd unit"),
    "LastTriggerUSec": ("timer_last_trigger_seconds", "gauge", _US, "Seconds since epoch of last trigger."),
    "NAccepted": ("socket_accepted_connections_total", "counter", 1, "Total number of accepted socket connections"),
    "NConnections": ("socket_current_connections", "gauge", 1, "Current number of socket connections"),
    "NRefused": ("socket_refused_connections_total", "gauge", 1, "Total number of refused socket connections"),
    _START: ("unit_start_time_seconds", "gauge", _US, "Start time of the unit since unix epoch in seconds."),
}


class SystemdOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the systemd collector."""

    unit_include: str = INCLUDED_UNITS
    unit_exclude: str = EXCLUDED_UNITS
    enable_task_metrics: bool = False
    enable_restarts_metrics: bool = False
    enable_start_time_metrics: bool = False


@dataclass(frozen=True, slots=True)
class _Unit:
    name: str
    load_state: str
    active_state: str
    path: str

    @property
    def kind(self) -> str:
        """Like `Service`, which is also how the interface of its kind is called."""
        return self.name.rpartition(".")[2].capitalize()


class SystemdCollector:
    """`node_systemd_*`. Asks the system's bus; systemd itself, which only root may, where there is none."""

    def __init__(self, roots: Roots, options: SystemdOptions) -> None:
        self._bus = roots.rootfs / "run/dbus/system_bus_socket"
        self._private = roots.rootfs / "run/systemd/private"
        self._included = Filter(include=_whole(options.unit_include))
        self._excluded = Filter(exclude=_whole(options.unit_exclude) if options.unit_exclude else "")
        restarts = ["NRestarts"] if options.enable_restarts_metrics else []
        tasks = ["TasksCurrent", "TasksMax"] if options.enable_task_metrics else []
        self._start_times = options.enable_start_time_metrics
        self._properties = {
            "Service": ["Type", *restarts, *tasks],
            "Mount": ["Type"],
            "Timer": ["LastTriggerUSec"],
            "Socket": ["NAccepted", "NConnections", "NRefused"],
        }

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        with self._connect() as connection:
            manager = _manager_properties(connection)
            units = _list_units(connection)
            chosen = [unit for unit in units if self._chooses(unit)]
            known = self._unit_properties(connection, chosen)
        yield from _manager_families(*manager)
        yield _summary(units)
        yield _states(chosen, known)
        yield from _property_families(chosen, known)

    def _chooses(self, unit: _Unit) -> bool:
        return unit.load_state == "loaded" and self._included.allows(unit.name) and self._excluded.allows(unit.name)

    def _connect(self) -> "Connection":
        # Imported here as hosts without this collector can do without it.
        from jeepney.bus import find_system_bus

        from exporter.collectors.dbus import Connection

        bus = Path(find_system_bus()) if "DBUS_SYSTEM_BUS_ADDRESS" in os.environ else self._bus
        try:
            return Connection(bus, _TIMEOUT_S, is_bus=True)
        except (FileNotFoundError, ConnectionRefusedError):
            return Connection(self._private, _TIMEOUT_S, is_bus=False)

    def _unit_properties(self, connection: "Connection", units: list[_Unit]) -> dict[tuple[str, str], Any]:
        """By unit and property, those that are there."""
        from jeepney import DBusAddress

        wanted = [(unit, unit.kind, name) for unit in units for name in self._properties.get(unit.kind, ())]
        if self._start_times:
            wanted += [(unit, "Unit", _START) for unit in units if unit.active_state == "active"]
        addresses = [
            (DBusAddress(unit.path, _SERVICE, f"{_SERVICE}.{interface}"), name) for unit, interface, name in wanted
        ]
        values = connection.properties(addresses)
        found = {(unit.name, name): value for (unit, _, name), value in zip(wanted, values, strict=True)}
        if self._start_times:
            found |= {(unit.name, _START): 0 for unit in units if unit.active_state != "active"}
        return {key: value for key, value in found.items() if value is not None}


def _whole(pattern: str) -> str:
    anchored = f"^(?:{pattern})$"
    return shipped(anchored) if pattern in (INCLUDED_UNITS, EXCLUDED_UNITS) else anchored


def _manager_properties(connection: "Connection") -> list[str | None]:
    """Version, virtualisation and state."""
    from jeepney import DBusAddress

    manager = DBusAddress(_MANAGER_PATH, _SERVICE, f"{_SERVICE}.Manager")
    return connection.properties([(manager, name) for name in ("Version", "Virtualization", "SystemState")])


def _list_units(connection: "Connection") -> list[_Unit]:
    from jeepney import DBusAddress

    (rows,) = connection.call(DBusAddress(_MANAGER_PATH, _SERVICE, f"{_SERVICE}.Manager"), "ListUnits")
    return [_Unit(row[0], load_state=row[2], active_state=row[3], path=row[6]) for row in rows]


def _manager_families(version: str | None, virtualization: str | None, state: str | None) -> Iterator[Family]:
    number = _VERSION.search(version or "")
    text = (version or "") if number else ""
    value = float(number[0]) if number else 0
    yield Family.single("node_systemd_version", "gauge", "Detected systemd version", value, label_text(version=text))
    kind = label_text(virtualization_type="unknown" if virtualization is None else virtualization or "none")
    help_text = "Detected virtualization technology"
    yield Family.single("node_systemd_virtualization_info", "gauge", help_text, 1, kind)
    if state is not None:
        help_text = "Whether the system is operational (see 'systemctl is-system-running')"
        yield Family.single("node_systemd_system_running", "gauge", help_text, int(state == "running"))


def _summary(units: list[_Unit]) -> Family:
    counts = dict.fromkeys(_STATES, 0)
    for unit in units:
        counts[unit.active_state] = counts.get(unit.active_state, 0) + 1
    family = Family("node_systemd_units", "gauge", "Summary of systemd unit states")
    for state, count in counts.items():
        family.add(count, label_text(state=state))
    return family


def _states(units: list[_Unit], known: dict[tuple[str, str], Any]) -> Family:
    family = Family("node_systemd_unit_state", "gauge", "Systemd unit")
    for unit in units:
        kind = known.get((unit.name, "Type"), "")
        for state in _STATES:
            family.add(int(state == unit.active_state), label_text(name=unit.name, state=state, type=kind))
    return family


def _property_families(units: list[_Unit], known: dict[tuple[str, str], Any]) -> Iterator[Family]:
    for name, (metric, kind, divisor, help_text) in _METRICS.items():
        family = Family(f"node_systemd_{metric}", kind, help_text)
        for unit in units:
            value = known.get((unit.name, name))
            if value is not None and value != _UNLIMITED:
                family.add(value / divisor, label_text(name=unit.name))
        yield family
