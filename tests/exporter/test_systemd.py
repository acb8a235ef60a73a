"""The systemd collector over a real D-Bus socket, alone and beside node_exporter asking the same peer."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.collectors.systemd import SystemdCollector, SystemdOptions
from exporter.registry import Registry
from exporter.roots import Roots
from exposition.formats import Format
from exposition.model import Exposition
from exposition.text import parse_text
from exposition.writer import write
from tests.exporter.comparison import host_metrics
from tests.exporter.node_exporter import fetch, node_exporter, node_exporter_version
from tests.exporter.systemd_peer import Systemd, listening

UNLIMITED = 2**64 - 1
BUS, PRIVATE = "run/dbus/system_bus_socket", "run/systemd/private"
EVERYTHING = SystemdOptions(
    enable_task_metrics=True, enable_restarts_metrics=True, enable_start_time_metrics=True, unit_exclude=""
)
FLAGS = [
    "--collector.disable-defaults",
    "--collector.systemd",
    "--collector.systemd.unit-exclude=",
    "--collector.systemd.enable-task-metrics",
    "--collector.systemd.enable-restarts-metrics",
    "--collector.systemd.enable-start-time-metrics",
]


@pytest.fixture(autouse=True)
def no_bus_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)


@pytest.fixture
def systemd() -> Systemd:
    return Systemd(
        manager={"Version": "252.39-1~deb12u1", "Virtualization": "kvm", "SystemState": "running"},
        units={
            "nginx.service": ("loaded", "active"),
            "backup@1.service": ("loaded", "failed"),
            "gone.service": ("not-found", "inactive"),
            "-.mount": ("loaded", "active"),
            "logrotate.timer": ("loaded", "active"),
            "dbus.socket": ("loaded", "active"),
            "old.socket": ("loaded", "inactive"),
            "multi-user.target": ("loaded", "active"),
            "user.slice": ("loaded", "reloading"),
        },
        properties={
            "nginx.service": {
                "Type": "notify",
                "NRestarts": 3,
                "TasksCurrent": 5,
                "TasksMax": UNLIMITED,
                "ActiveEnterTimestamp": 1_700_000_000_123_456,
            },
            "backup@1.service": {"Type": "oneshot", "TasksCurrent": UNLIMITED, "TasksMax": 77},
            "-.mount": {"Type": "ext4", "ActiveEnterTimestamp": 5_000_000},
            "logrotate.timer": {"LastTriggerUSec": 1_700_000_001_500_000},
            "dbus.socket": {"NAccepted": 7, "NConnections": 2, "NRefused": 1},
            "old.socket": {"NAccepted": 1, "NConnections": 0},
        },
    )


DEFAULTS = SystemdOptions()


def collect(root: Path, options: SystemdOptions = DEFAULTS) -> Exposition:
    return parse_text(write(SystemdCollector(Roots(rootfs=root), options).collect(), Format.TEXT))


def values(exposition: Exposition) -> dict[str, float]:
    return {str(sample.labels): sample.value for sample in exposition.samples}


@pytest.fixture
def theirs(tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exposition]:
    if node_exporter_version() < (1, 11):
        pytest.skip("node_exporter before 1.11 has fewer metrics of systemd")
    with listening(tmp_path / BUS, systemd):
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / BUS}")
        with node_exporter(*FLAGS) as url:
            monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS")
            yield parse_text(fetch(url)[0])


def test_as_node_exporter_asks_the_same_bus(theirs: Exposition, tmp_path: Path) -> None:
    expected = host_metrics(theirs)

    assert len(expected) > 40
    assert host_metrics(collect(tmp_path, EVERYTHING)) == expected


def test_systemd_itself_is_asked_where_there_is_no_bus(tmp_path: Path, systemd: Systemd) -> None:
    with listening(tmp_path / BUS, systemd):
        over_bus = values(collect(tmp_path))
    (tmp_path / BUS).unlink()
    assert systemd.calls[0] == "Hello"
    systemd.calls.clear()
    with listening(tmp_path / PRIVATE, systemd):
        assert values(collect(tmp_path)) == over_bus
    assert "Hello" not in systemd.calls


def test_the_address_of_the_bus_may_stand_in_the_environment(
    tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/elsewhere")
    with listening(tmp_path / "elsewhere", systemd):
        assert values(collect(tmp_path / "no root"))["node_systemd_system_running"] == 1


def names_of_units(found: dict[str, float]) -> set[str]:
    return {series.split('"')[1] for series in found if series.startswith("node_systemd_unit_state")}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (SystemdOptions(), {"nginx.service", "backup@1.service", "logrotate.timer", "dbus.socket", "old.socket"}),
        (SystemdOptions(unit_include=r".*\.(service|slice)"), {"nginx.service", "backup@1.service"}),
        (SystemdOptions(unit_include="nginx"), set()),
        (SystemdOptions(unit_include=r".*\.socket", unit_exclude="old.*"), {"dbus.socket"}),
    ],
)
def test_units_match_one_pattern_and_not_the_other(
    options: SystemdOptions, expected: set[str], tmp_path: Path, systemd: Systemd
) -> None:
    with listening(tmp_path / BUS, systemd):
        found = values(collect(tmp_path, options))

    assert names_of_units(found) == expected
    # Whatever is chosen, all are counted.
    assert sum(count for series, count in found.items() if series.startswith("node_systemd_units")) == 9


def test_many_units_are_asked_at_once(tmp_path: Path, systemd: Systemd) -> None:
    names = [f"job-{number}.service" for number in range(2500)]
    systemd.units = dict.fromkeys(names, ("loaded", "active"))
    systemd.properties = {name: {"Type": "simple"} for name in names[::500]}
    with listening(tmp_path / BUS, systemd):
        found = values(collect(tmp_path))

    assert found['node_systemd_units{state="active"}'] == 2500
    typed = [series for series in found if 'state="active", type="simple"' in series]
    assert len(typed) == 5
    assert len(names_of_units(found)) == 2500


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"Version": "unknown"}, 'node_systemd_version{version="252.39-1~deb12u1"}'),
        ({"SystemState": "degraded"}, ""),
        ({"Virtualization": ""}, 'node_systemd_virtualization_info{virtualization_type="kvm"}'),
    ],
)
def test_what_systemd_says_of_itself(changed: dict[str, str], missing: str, tmp_path: Path, systemd: Systemd) -> None:
    systemd.manager |= changed
    with listening(tmp_path / BUS, systemd):
        found = values(collect(tmp_path))

    assert missing not in found
    assert found["node_systemd_system_running"] == int("SystemState" not in changed)
    assert ("node_systemd_version" in found) == ("Version" in changed)
    assert ('node_systemd_virtualization_info{virtualization_type="none"}' in found) == ("Virtualization" in changed)


def problem_of(root: Path, caplog: pytest.LogCaptureFixture) -> str:
    registry = Registry({"systemd": SystemdCollector(Roots(rootfs=root), SystemdOptions())})
    found = values(parse_text(write(registry.collect(), Format.TEXT)))
    assert found['node_scrape_collector_success{collector="systemd"}'] == 0
    assert len(found) == 2
    return str(caplog.records[-1].__dict__["error"])


def test_no_systemd(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "FileNotFoundError" in problem_of(tmp_path, caplog)


def test_a_bus_without_systemd(tmp_path: Path, systemd: Systemd, caplog: pytest.LogCaptureFixture) -> None:
    systemd.knows_units = False
    with listening(tmp_path / BUS, systemd):
        problem = problem_of(tmp_path, caplog)

    assert "ListUnits of org.freedesktop.systemd1 failed: org.freedesktop.DBus.Error" in problem


def test_a_bus_that_hangs_up(tmp_path: Path, systemd: Systemd, caplog: pytest.LogCaptureFixture) -> None:
    systemd.hangs_up = True
    with listening(tmp_path / BUS, systemd):
        problem = problem_of(tmp_path, caplog)

    assert "ConnectionResetError" in problem
    assert BUS in problem


def test_a_bus_that_says_nothing(tmp_path: Path, systemd: Systemd, caplog: pytest.LogCaptureFixture) -> None:
    systemd.is_silent = True
    with listening(tmp_path / BUS, systemd):
        assert "TimeoutError" in problem_of(tmp_path, caplog)


def test_descriptors_do_not_grow(tmp_path: Path, systemd: Systemd) -> None:
    collector = SystemdCollector(Roots(rootfs=tmp_path), EVERYTHING)
    with listening(tmp_path / BUS, systemd):
        list(collector.collect())
    before = own_sockets()
    systemd.hangs_up = True
    (tmp_path / BUS).unlink()
    with listening(tmp_path / BUS, systemd):
        for _ in range(20):
            with pytest.raises(ConnectionResetError):
                list(collector.collect())
    assert own_sockets() == before


def own_sockets() -> int:
    """How many sockets this process has open."""
    return sum(
        str(entry.readlink()).startswith("socket:") for entry in Path("/proc/self/fd").iterdir() if entry.is_socket()
    )


def test_hosts_that_do_not_collect_it_do_without_jeepney() -> None:
    code = "import sys, exporter.app; exporter.app.create_app(); print('jeepney' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
