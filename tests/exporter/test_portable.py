"""The collectors of systems without /proc, run on Linux beside those that read it."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from common.labels import Labels
from exporter.collectors.portable import BSD_MEMORY, DARWIN_MEMORY, cpu, diskstats, meminfo, uname
from exporter.settings import ExporterSettings
from exposition.formats import Format
from exposition.text import parse_text
from exposition.writer import Family, write
from tests.components import require
from tests.exporter.comparison import HostMetrics, host_metrics, is_between

NAMES = ["boottime", "cpu", "diskstats", "exec", "filesystem", "loadavg", "meminfo", "netdev", "time", "uname"]
PLATFORMS = ["darwin", "freebsd14"]


def body(platform: str) -> bytes:
    return write(ExporterSettings().registry(platform).collect(), Format.TEXT)


def read_host(platform: str) -> HostMetrics:
    """Without the device numbers, which only Linux's list of mounts has."""
    metrics = host_metrics(parse_text(body(platform)))
    return {(key[0], key[1].without("major", "minor"), *key[2:]): value for key, value in metrics.items()}


@pytest.mark.parametrize(("platform", "memory_names"), [("darwin", DARWIN_MEMORY), ("freebsd14", BSD_MEMORY)])
def test_same_series_and_values_as_from_proc(platform: str, memory_names: dict[str, str]) -> None:
    before, ours, after = read_host("linux"), read_host(platform), read_host("linux")
    own_names = {f"node_memory_{name}" for name in memory_names if name.islower()}
    names = {name for name, *_ in ours if not name.startswith("node_exec_")} - own_names

    assert names >= {
        "node_boot_time_seconds",
        "node_cpu_seconds_total",
        "node_disk_written_bytes_total",
        "node_filesystem_avail_bytes",
        "node_load1",
        "node_memory_MemAvailable_bytes",
        "node_network_receive_bytes_total",
        "node_time_seconds",
        "node_uname_info",
    }
    # The domain is guessed from the host's name where uname(2) does not tell it.
    keys = {key for key in ours if key[0] in names and key[0] != "node_uname_info"}
    assert keys == {key for key in before if key[0] in names and key[0] != "node_uname_info"}
    for key in keys & set(after):
        assert is_between(ours[key], before, after, key), key


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_collector_is_there_and_succeeds(platform: str) -> None:
    samples = parse_text(body(platform)).samples
    success = {
        sample.labels.get("collector"): sample.value
        for sample in samples
        if sample.labels.metric_name == "node_scrape_collector_success"
    }

    assert success == dict.fromkeys(NAMES, 1.0)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_promtool_accepts_the_names(platform: str) -> None:
    command: list[str | Path] = [require("promtool"), "check", "metrics"]
    check = subprocess.run(command, input=body(platform), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    complaints = check.stdout.decode().splitlines()
    # Those that the kernel's names for memory get on Linux too.
    assert [line for line in complaints if not (line.startswith("node_memory_") and "camelCase" in line)] == []
    assert complaints


def samples(families: Iterable[Family]) -> dict[Labels, float]:
    return {sample.labels: sample.value for sample in parse_text(write(families, Format.TEXT)).samples}


def test_fields_that_a_system_does_not_have_are_left_out() -> None:
    # As psutil gives them on macOS and on OpenBSD.
    times = [
        {"user": 1.5, "nice": 0.0, "system": 2.5, "idle": 3.5},
        {"user": 4.5, "nice": 0.25, "system": 5.5, "idle": 6.5},
    ]
    disks = {"sd0": {"read_count": 1, "write_count": 2, "read_bytes": 1024, "write_bytes": 2048}}

    found = samples(cpu(times))
    assert len(found) == 8
    assert found[Labels.of({"__name__": "node_cpu_seconds_total", "cpu": "1", "mode": "nice"})] == 0.25
    assert samples(diskstats(disks)) == {
        Labels.of({"__name__": f"node_disk_{name}", "device": "sd0"}): value
        for name, value in {
            "reads_completed_total": 1,
            "read_bytes_total": 1024,
            "writes_completed_total": 2,
            "written_bytes_total": 2048,
        }.items()
    }


def test_times_of_disks_become_seconds() -> None:
    found = samples(diskstats({"ada0": {"read_time": 1500, "write_time": 2500, "busy_time": 250}}))

    assert sorted(found.values()) == [0.25, 1.5, 2.5]


def test_memory_has_the_names_of_linux_and_those_of_the_system() -> None:
    memory = {
        "total": 100,
        "available": 60,
        "percent": 40,
        "used": 50,
        "free": 30,
        "active": 20,
        "inactive": 25,
        "wired": 15,
    }
    swap = {"total": 10, "used": 4, "free": 6, "percent": 40, "sin": 7, "sout": 8}
    expected = {
        "MemTotal_bytes": 100,
        "MemAvailable_bytes": 60,
        "MemFree_bytes": 30,
        "SwapTotal_bytes": 10,
        "SwapFree_bytes": 6,
        "active_bytes": 20,
        "free_bytes": 30,
        "inactive_bytes": 25,
        "wired_bytes": 15,
        "swap_used_bytes": 4,
        "swap_total_bytes": 10,
        "swapped_in_bytes_total": 7,
        "swapped_out_bytes_total": 8,
        "total_bytes": 100,
    }

    found = samples(meminfo(DARWIN_MEMORY, memory, swap))
    assert found == {Labels.of({"__name__": f"node_memory_{name}"}): value for name, value in expected.items()}


@pytest.mark.parametrize(
    ("nodename", "host", "domain"),
    [("mini.example.org", "mini", "example.org"), ("mini", "mini", "(none)")],
)
def test_the_domain_is_what_follows_the_host_name(nodename: str, host: str, domain: str) -> None:
    (labels,) = samples([uname(nodename)])

    assert (labels.get("nodename"), labels.get("domainname")) == (host, domain)


def test_linux_does_without_psutil() -> None:
    code = "import sys; from exporter.app import create_app; create_app(); print('psutil' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == str(sys.platform != "linux")
