"""The collectors over a recorded host, alone and beside node_exporter reading the same files."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.yamlfile import Duration
from exporter.catalog import COLLECTORS
from exporter.collectors.filesystem import FilesystemCollector, FilesystemOptions, read_mounts, unsandboxed
from exporter.collectors.meminfo import MeminfoCollector
from exporter.registry import Collector, Registry
from exporter.roots import Roots
from exposition.formats import Format
from exposition.model import Exposition
from exposition.text import parse_text
from exposition.writer import Family, write
from tests.exporter.collecting import make
from tests.exporter.comparison import host_metrics
from tests.exporter.node_exporter import fetch, node_exporter, node_exporter_version

HOST = Path(__file__).parent / "host"
ROOTS = Roots(procfs=HOST / "proc", sysfs=HOST / "sys", rootfs=HOST / "rootfs", udev_data=HOST / "udev")


def collect(collector: Collector) -> Exposition:
    return parse_text(write(collector.collect(), Format.TEXT))


def values(exposition: Exposition) -> dict[str, float]:
    found = {str(sample.labels): sample.value for sample in exposition.samples}
    assert len(found) == len(exposition.samples), "a series is there twice"
    return found


# The clock, the real uname and its own kernel's answers to system calls: compared on the live host.
NOT_RECORDED = {"filesystem", "processes_top", "server_info", "systemd", "textfile", "time", "timex", "uname"}
# Kernels of today have more fields of memory; without netlink node_exporter leaves one statistic out.
KNOWS_MORE = {"meminfo", "netdev"}
NEWEST = (1, 11)


@pytest.fixture(scope="module")
def recorded() -> Iterator[str]:
    """The URL of a node_exporter that reads the recorded host."""
    version = node_exporter_version()
    if version < NEWEST:
        pytest.skip(f"node_exporter {version} differs from {NEWEST}, whose metrics these are")
    flags = [
        f"--path.procfs={ROOTS.procfs}",
        f"--path.sysfs={ROOTS.sysfs}",
        f"--path.rootfs={ROOTS.rootfs}",
        f"--path.udev.data={ROOTS.udev_data}",
        "--no-collector.arp.netlink",
        "--no-collector.netdev.netlink",
        "--collector.disable-defaults",
    ]
    with node_exporter(*flags, *(f"--collector.{name}" for name in sorted(COLLECTORS.keys() - NOT_RECORDED))) as url:
        yield url


@pytest.mark.parametrize("name", sorted(COLLECTORS.keys() - NOT_RECORDED))
def test_as_node_exporter_reads_the_same_files(name: str, recorded: str) -> None:
    expected = host_metrics(parse_text(fetch(f"{recorded}?collect[]={name}")[0]))
    found = host_metrics(collect(make(name, ROOTS)))

    assert expected
    assert {key: found.get(key) for key in expected} == pytest.approx(expected, rel=1e-12)
    assert name in KNOWS_MORE or found.keys() == expected.keys()


def test_cpu_seconds_are_ticks_over_a_hundred() -> None:
    found = values(collect(make("cpu", ROOTS)))

    assert found['node_cpu_seconds_total{cpu="1", mode="softirq"}'] == 1.41
    assert found['node_cpu_guest_seconds_total{cpu="0", mode="nice"}'] == 0.03
    assert len([series for series in found if "seconds_total" in series]) == 2 * (8 + 2)


def test_every_field_of_meminfo_is_there() -> None:
    fields = (ROOTS.procfs / "meminfo").read_text().splitlines()
    found = values(collect(MeminfoCollector(ROOTS)))

    assert len(found) == len(fields)
    assert found["node_memory_MemTotal_bytes"] == 24684084 * 1024
    assert "node_memory_Active_anon_bytes" in found
    assert "node_memory_HugePages_Total" in found


def test_netdev_reads_what_only_sysfs_has() -> None:
    found = values(collect(make("netdev", ROOTS)))

    assert found['node_network_receive_nohandler_total{device="eth0"}'] == 13
    assert found['node_network_transmit_carrier_total{device="eth0"}'] == 11


def test_disks_of_old_kernels_have_fewer_columns_and_partitions_none() -> None:
    found = values(collect(make("diskstats", ROOTS)))

    assert found['node_disk_read_bytes_total{device="sdb"}'] == 1003346126 * 512
    assert found['node_disk_flush_requests_time_seconds_total{device="sda"}'] == 0.219
    assert 'node_disk_discards_completed_total{device="sdb"}' not in found
    assert not [series for series in found if "sda1" in series or "loop0" in series]
    assert {series for series in found if "info" in series} >= {
        'node_disk_info{device="sda", major="8", minor="0", model="MODEL_1", path="pci-0000:00:1f.2-ata-1", '
        'revision="7E6Q", rotational="1", serial="SERIAL1", wwn="0x50014ee2"}',
        'node_disk_info{device="sdb", major="8", minor="16", rotational="0"}',
    }


def test_filesystems(tmp_path: Path) -> None:
    (tmp_path / "srv/my data").mkdir(parents=True)
    found = values(collect(make("filesystem", Roots(procfs=ROOTS.procfs, rootfs=tmp_path))))
    usage = os.statvfs(tmp_path)

    root = 'device="/dev/sda1", fstype="ext4", mountpoint="/"'
    data = 'device="/dev/sdb", fstype="xfs", mountpoint="/srv/my data"'
    gone = 'device="server:/gone", device_error="no such file or directory", fstype="nfs4", mountpoint="/srv/gone"'
    assert found[f"node_filesystem_size_bytes{{{root}}}"] == usage.f_blocks * usage.f_frsize
    assert found[f"node_filesystem_files{{{root}}}"] == usage.f_files
    assert found[f"node_filesystem_readonly{{{root}}}"] == 0
    assert found[f"node_filesystem_readonly{{{data}}}"] == 1
    assert found['node_filesystem_mount_info{device="/dev/sdb", major="8", minor="16", mountpoint="/srv/my data"}'] == 1
    assert {series: value for series, value in found.items() if "/srv/gone" in series} == {
        f"node_filesystem_device_error{{{gone}}}": 1,
        f"node_filesystem_readonly{{{gone}}}": 0,
    }
    mounts = {series.rpartition("mountpoint=")[2] for series in found if "device_error" in series.partition("{")[0]}
    assert mounts == {'"/"}', '"/srv/my data"}', '"/srv/gone"}', '"/mnt/backup"}', '"/run"}'}


class DeadMount:
    """statvfs as it is, but for one mount point, which hangs until it is released."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self.calls = 0
        self.thread = threading.current_thread()
        self.release = threading.Event()

    def __call__(self, path: str) -> os.statvfs_result:
        if path == self._path:
            self.calls += 1
            self.thread = threading.current_thread()
            self.release.wait()
        return os.statvfs(path)


def test_a_dead_mount_costs_its_own_metrics(tmp_path: Path) -> None:
    for name in ("1", "dead", "well"):
        (tmp_path / name).mkdir()
    (tmp_path / "1/mountinfo").write_text(
        f"1 0 0:1 / {tmp_path}/dead rw - nfs4 server:/dead rw\n2 1 8:1 / {tmp_path}/well rw - xfs /dev/sdb rw\n"
    )
    statvfs = DeadMount(tmp_path / "dead")
    options = FilesystemOptions(mount_timeout=Duration(50))
    collector = FilesystemCollector(Roots(procfs=tmp_path, rootfs=tmp_path), options, statvfs=statvfs)
    threads = sum(thread.name == "statvfs" for thread in threading.enumerate())
    bodies = [values(collect(collector)) for _ in range(50)]

    dead = 'device="server:/dead", device_error="mountpoint timeout", fstype="nfs4", mountpoint="/dead"'
    well = 'device="/dev/sdb", fstype="xfs", mountpoint="/well"'
    for found in bodies:
        assert found[f"node_filesystem_device_error{{{dead}}}"] == 1
        assert f"node_filesystem_size_bytes{{{well}}}" in found
        assert not [series for series in found if "size_bytes" in series and "dead" in series]
    assert statvfs.calls == 1
    assert sum(thread.name == "statvfs" for thread in threading.enumerate()) <= threads + 2

    statvfs.release.set()
    statvfs.thread.join(10)
    alive = values(collect(collector))
    assert 'node_filesystem_size_bytes{device="server:/dead", fstype="nfs4", mountpoint="/dead"}' in alive


def test_mount_points_below_the_root_lose_its_prefix(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1/mountinfo").write_text(
        f"1 0 8:1 / {tmp_path} rw - ext4 /dev/sda1 rw\n2 1 8:1 / {tmp_path}/1 rw - xfs b\n"
    )
    found = values(collect(make("filesystem", Roots(procfs=tmp_path, rootfs=tmp_path))))

    assert 'node_filesystem_readonly{device="/dev/sda1", fstype="ext4", mountpoint="/"}' in found
    assert 'node_filesystem_readonly{device="b", fstype="xfs", mountpoint="/1"}' in found


def test_a_sandbox_is_seen_through() -> None:
    """As systemd shows them to a service with ProtectSystem=strict and a StateDirectory."""
    mounts = read_mounts(
        "1 0 8:1 / / ro,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "2 1 8:1 /var/lib/state /var/lib/state rw,relatime - ext4 /dev/sda1 rw\n"
        "7 1 8:1 /tmp/systemd-private-1a2b-exporter.service-x/tmp /tmp rw - ext4 /dev/sda1 rw\n"
        "3 1 8:2 / /srv ro - xfs /dev/sdb rw\n"
        "4 3 8:2 /x /srv/x rw - xfs /dev/sdb rw\n"
        "5 3 8:2 /x /elsewhere rw - xfs /dev/sdb rw\n"
        "6 1 11:0 / /cdrom ro - iso9660 /dev/sr0 ro\n"
    )
    seen = {(mount.mount_point, mount.read_only) for mount in unsandboxed(mounts)}

    assert seen == {("/", False), ("/srv", False), ("/elsewhere", False), ("/cdrom", True)}


def test_a_line_that_is_no_mount_is_refused() -> None:
    with pytest.raises(ValueError, match="not a line of mountinfo: 'nonsense'"):
        list(read_mounts("nonsense\n"))


def test_time_and_clock_sources() -> None:
    before = time.time()
    found = values(collect(make("time", ROOTS)))

    assert before <= found["node_time_seconds"] <= time.time()
    sources = {series for series in found if "available" in series}
    assert sources == {
        f'node_time_clocksource_available_info{{clocksource="{name}", device="0"}}'
        for name in ("tsc", "hpet", "acpi_pm")
    }
    assert 'node_time_clocksource_current_info{clocksource="tsc", device="0"}' in found


class Failing:
    """A collector whose files are not there."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def collect(self) -> list[Family]:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(2, "no such file"), ValueError("no number"), IndexError("short"), RuntimeError("no disks")],
)
def test_a_failing_collector_costs_its_own_metrics_only(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry({"broken": Failing(error), "stat": make("stat", ROOTS)})
    found = values(parse_text(write(registry.collect(), Format.TEXT)))

    assert found['node_scrape_collector_success{collector="broken"}'] == 0
    assert found['node_scrape_collector_success{collector="stat"}'] == 1
    assert found['node_scrape_collector_duration_seconds{collector="stat"}'] > 0
    assert found["node_boot_time_seconds"] == 1795497740
    assert [record.__dict__["collector"] for record in caplog.records] == ["broken"]


@pytest.mark.parametrize("name", sorted(COLLECTORS))
def test_hosts_without_the_files_are_survived(name: str, tmp_path: Path) -> None:
    roots = Roots(procfs=tmp_path, sysfs=tmp_path, rootfs=tmp_path, udev_data=tmp_path)
    found = values(parse_text(write(Registry({name: make(name, roots)}).collect(), Format.TEXT)))

    assert f'node_scrape_collector_success{{collector="{name}"}}' in found
