"""Collectors of hardware over small trees: what is missing, garbled or switched off."""

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.collectors.powersupplyclass import PowersupplyclassCollector, PowersupplyclassOptions
from exporter.collectors.rapl import RaplCollector, RaplOptions
from exporter.errors import NoDataError
from exporter.roots import Roots
from tests.exporter.collecting import make, values

Tree = Callable[[dict[str, str | bytes]], Roots]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def make_tree(files: dict[str, str | bytes]) -> Roots:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else f"{content}\n".encode())
        return Roots(procfs=tmp_path / "proc", sysfs=tmp_path / "sys")

    return make_tree


@pytest.mark.parametrize("name", ["dmi", "hwmon", "nvme", "powersupplyclass", "rapl", "watchdog"])
def test_no_such_hardware_is_no_data(name: str, tree: Tree) -> None:
    with pytest.raises(NoDataError):
        list(make(name, tree({})).collect())


@pytest.mark.parametrize("name", ["cpu_vulnerabilities", "edac", "thermal_zone"])
def test_no_such_hardware_is_no_series(name: str, tree: Tree) -> None:
    assert values(make(name, tree({}))) == {}


@pytest.mark.parametrize(
    ("name", "file", "text"),
    [
        ("cpu_vulnerabilities", "devices/system/cpu/vulnerabilities/mds", "Perhaps"),
        ("cpufreq", "devices/system/cpu/offline", "1-x"),
        ("edac", "devices/system/edac/mc/mc0/ce_count", "-1"),
        ("powersupplyclass", "class/power_supply/BAT0/capacity", "9O"),
        ("rapl", "class/powercap/intel-rapl:0/energy_uj", ""),
        ("watchdog", "class/watchdog/watchdog0/timeout", "0xZZ"),
    ],
)
def test_a_garbled_file_is_named(name: str, file: str, text: str, tree: Tree) -> None:
    roots = tree({"sys/class/powercap/intel-rapl:0/name": "core", f"sys/{file}": text})

    with pytest.raises(ValueError, match=f"{file}: .*"):
        list(make(name, roots).collect())


def test_a_zone_without_a_reading_costs_itself_alone(tree: Tree) -> None:
    zones = "sys/class/thermal/thermal_zone"
    roots = tree({f"{zones}0/type": "acpitz", f"{zones}10/type": "x86_pkg_temp", f"{zones}10/temp": "-5000"})

    assert values(make("thermal_zone", roots)) == {'node_thermal_zone_temp{type="x86_pkg_temp", zone="10"}': -5.0}


def test_offline_cpus_have_no_frequency(tree: Tree) -> None:
    cpu = "sys/devices/system/cpu"
    roots = tree(
        {
            f"{cpu}/offline": "1,4-7",
            f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "2800000",
            f"{cpu}/cpu0/cpufreq/scaling_governor": "powersave",
            f"{cpu}/cpu0/cpufreq/scaling_available_governors": "performance powersave ",
            f"{cpu}/cpu1/cpufreq/scaling_cur_freq": "garbled",
        }
    )

    assert values(make("cpufreq", roots)) == {
        'node_cpu_scaling_frequency_hertz{cpu="0"}': 2.8e9,
        'node_cpu_scaling_governor{cpu="0", governor="performance"}': 0,
        'node_cpu_scaling_governor{cpu="0", governor="powersave"}': 1,
    }


def test_zones_of_one_name_are_counted(tree: Tree) -> None:
    zones = {"0": ("package-3", 7_000_000), "0:0": ("dram", 1), "1:0": ("dram", 2)}
    files: dict[str, str | bytes] = {"sys/class/powercap/intel-rapl/enabled": "1"}
    for zone, (name, energy) in zones.items():
        files[f"sys/class/powercap/intel-rapl:{zone}/name"] = name
        files[f"sys/class/powercap/intel-rapl:{zone}/energy_uj"] = str(energy)
    roots = tree(files)
    powercap = roots.sysfs / "class/powercap"

    assert values(make("rapl", roots)) == {
        f'node_rapl_package_joules_total{{index="3", path="{powercap}/intel-rapl:0"}}': 7.0,
        f'node_rapl_dram_joules_total{{index="0", path="{powercap}/intel-rapl:0:0"}}': 1e-6,
        f'node_rapl_dram_joules_total{{index="1", path="{powercap}/intel-rapl:1:0"}}': 2e-6,
    }
    labelled = values(RaplCollector(roots, RaplOptions(enable_zone_label=True)))
    key = f'node_rapl_joules_total{{index="3", path="{powercap}/intel-rapl:0", rapl_zone="package"}}'
    assert labelled[key] == 7.0


def test_supplies_can_be_ignored_and_text_need_not_be_utf8(tree: Tree) -> None:
    supplies = "sys/class/power_supply"
    roots = tree({f"{supplies}/AC/online": "1", f"{supplies}/BAT0/model_name": b"A\xff\xfeB\n"})

    found = values(PowersupplyclassCollector(roots, PowersupplyclassOptions(ignored_supplies="^AC$")))

    assert found == {'node_power_supply_info{model_name="A\N{REPLACEMENT CHARACTER}B", power_supply="BAT0"}': 1}
