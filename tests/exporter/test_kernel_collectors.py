"""Collectors of the kernel and of storage over small trees: what is missing, garbled, changed or switched on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.collectors import btrfs_devices
from exporter.collectors.btrfs import BtrfsCollector
from exporter.collectors.btrfs_devices import read_devices
from exporter.collectors.stat import StatCollector, StatOptions
from exporter.collectors.vmstat import VmstatCollector, VmstatOptions
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.formats import Format
from exposition.writer import write
from tests.exporter.collecting import make, values

Tree = Callable[[dict[str, str]], Roots]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    def make_tree(files: dict[str, str]) -> Roots:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return Roots(procfs=tmp_path / "proc", sysfs=tmp_path / "sys", rootfs=tmp_path / "root")

    return make_tree


@pytest.mark.parametrize("name", ["kernel_hung", "mdadm", "os", "pressure", "schedstat", "zfs"])
def test_what_this_host_has_not_is_no_data(name: str, tree: Tree) -> None:
    with pytest.raises(NoDataError):
        list(make(name, tree({})).collect())


@pytest.mark.parametrize(
    "name", ["diskstats", "entropy", "filefd", "loadavg", "meminfo", "processes", "stat", "vmstat"]
)
def test_files_that_every_kernel_has_are_missed(name: str, tree: Tree) -> None:
    with pytest.raises(FileNotFoundError):
        list(make(name, tree({})).collect())


def test_no_xfs_is_no_series(tree: Tree) -> None:
    assert values(make("xfs", tree({}))) == {}


SOME = "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n"
FULL = "full avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"


def test_pressure_without_interrupts_and_without_full_lines_of_the_cpu(tree: Tree) -> None:
    """As before Linux 6.1, and 5.13."""
    found = values(make("pressure", tree({"proc/pressure/cpu": SOME, "proc/pressure/io": SOME + FULL})))

    assert found == {
        "node_pressure_cpu_waiting_seconds_total": 1.5,
        "node_pressure_io_waiting_seconds_total": 1.5,
        "node_pressure_io_stalled_seconds_total": 2.5,
    }


def test_pressure_of_a_line_that_is_missing(tree: Tree) -> None:
    with pytest.raises(NoDataError, match="pressure/memory has no line 'full'"):
        list(make("pressure", tree({"proc/pressure/memory": SOME})).collect())


SELINUX = {
    "sys/fs/selinux/enforce": "0",
    "sys/fs/selinux/avc/cache_stats": "lookups hits misses allocations reclaims frees\n10 9 1 1 0 0\n30 25 5 4 3 2\n",
    "sys/fs/selinux/avc/hash_stats": "entries: 503\nbuckets used: 294/512\nlongest chain: 7\n",
    "sys/fs/selinux/avc/cache_threshold": "512\n",
}


@pytest.mark.parametrize(
    ("config", "mode"),
    [
        ("# SELINUX=disabled\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", 1),
        ('SELINUXTYPE=mls\n  SELINUX = "permissive"\n', 0),
        ("SELINUX=disabled\n", -1),
        ("", -1),
    ],
)
def test_selinux(config: str, mode: int, tree: Tree) -> None:
    found = values(make("selinux", tree({**SELINUX, "root/etc/selinux/config": config})))

    assert found == {
        "node_selinux_enabled": 1,
        "node_selinux_config_mode": mode,
        "node_selinux_current_mode": 0,
        "node_selinux_avc_lookups_total": 40,
        "node_selinux_avc_hits_total": 34,
        "node_selinux_avc_misses_total": 6,
        "node_selinux_avc_allocations_total": 5,
        "node_selinux_avc_reclaims_total": 3,
        "node_selinux_avc_frees_total": 2,
        "node_selinux_avc_hash_entries": 503,
        "node_selinux_avc_hash_buckets_used": 294,
        "node_selinux_avc_hash_buckets_available": 512,
        "node_selinux_avc_hash_longest_chain": 7,
        "node_selinux_avc_threshold": 512,
    }


def test_a_host_without_selinux_says_so(tree: Tree) -> None:
    assert values(make("selinux", tree({}))) == {"node_selinux_enabled": 0}


def test_softirqs_are_counted_when_asked_for(tree: Tree) -> None:
    roots = tree({"proc/stat": "cpu 1 2\nctxt 7\nsoftirq 55 1 2 3 4 5 6 7 8 9 10\n"})
    found = values(StatCollector(roots, StatOptions(softirq=True)))

    assert values(make("stat", roots)) == {"node_context_switches_total": 7}
    assert found['node_softirqs_total{vector="block_iopoll"}'] == 6
    assert sum(found.values()) == 7 + 55


@pytest.mark.parametrize(("fields", "expected"), [("^nr_", {"nr_free_pages"}), ("", {"nr_free_pages", "pgfault"})])
def test_fields_of_vmstat_can_be_chosen(fields: str, expected: set[str], tree: Tree) -> None:
    roots = tree({"proc/vmstat": "nr_free_pages 5\npgfault 6\n"})

    assert values(make("vmstat", roots)) == {"node_vmstat_pgfault": 6}
    assert values(VmstatCollector(roots, VmstatOptions(fields=fields))).keys() == {f"node_vmstat_{f}" for f in expected}


OS_RELEASE = "root/etc/os-release"


def os_info(found: dict[str, float]) -> str:
    return next(series for series in found if series.startswith("node_os_info"))


def test_the_system_s_release_is_read_again_when_it_changes(tree: Tree, tmp_path: Path) -> None:
    collector = make("os", tree({OS_RELEASE: 'ID=debian\nVERSION_ID="12"\n'}))
    before = values(collector)
    tree({OS_RELEASE: 'ID=debian\nVERSION_ID="13.1"\n'})
    os.utime(tmp_path / OS_RELEASE, ns=(1, 1))
    after = values(collector)

    assert before['node_os_version{id="debian"}'] == 12
    assert after['node_os_version{id="debian"}'] == 13.1
    assert 'version_id="13.1"' in os_info(after)


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("NAME=Plain", 'name="Plain"'),
        ("NAME='Single \"quoted\"'", 'name="Single \\"quoted\\""'),
        ('NAME="a \\"b\\" \\\\ c" # comment', 'name="a \\"b\\" \\\\ c"'),
        ('NAME=""', None),
        ("# NAME=commented", None),
    ],
)
def test_values_of_os_release_are_quoted_as_in_a_shell(line: str, label: str | None, tree: Tree) -> None:
    text = write(make("os", tree({OS_RELEASE: f"ID=x\n{line}\nnonsense\n"})).collect(), Format.TEXT).decode()

    assert (label or 'name=""') in text


def test_os_release_below_usr_lib_counts_where_there_is_none_in_etc(tree: Tree) -> None:
    roots = tree({"root/usr/lib/os-release": "ID=arch\nBUILD_ID=rolling\n"})
    found = values(make("os", roots))

    assert set(found) == {'node_os_info{build_id="rolling", id="arch"}'}
    tree({OS_RELEASE: "ID=other\n"})
    assert 'id="other"' in os_info(values(make("os", roots)))


def process_stat(pid: int, command: str, state: str, threads: int) -> str:
    return f"{pid} ({command}) {state} " + " ".join(["0"] * 16) + f" {threads} " + " ".join(["0"] * 32)


def test_processes_that_end_while_they_are_counted(tree: Tree, tmp_path: Path) -> None:
    roots = tree(
        {
            "proc/sys/kernel/threads-max": "100",
            "proc/sys/kernel/pid_max": "200",
            "proc/7/stat": process_stat(7, "a) Z (b", "S", 3),
            "proc/7/task/7/stat": process_stat(7, "a) Z (b", "S", 3),
            "proc/7/task/8/stat": process_stat(8, "worker", "R", 3),
            "proc/self/stat": process_stat(7, "link", "X", 1),
        }
    )
    (tmp_path / "proc/7/task/9").mkdir()
    (tmp_path / "proc/99").mkdir()
    found = values(make("processes", roots))

    assert found == {
        "node_processes_threads": 3,
        "node_processes_max_threads": 100,
        "node_processes_pids": 1,
        "node_processes_max_processes": 200,
        'node_processes_state{state="S"}': 1,
        'node_processes_threads_state{thread_state="S"}': 1,
        'node_processes_threads_state{thread_state="R"}': 1,
    }


ZFS = "proc/spl/kstat/zfs"
NAMED = "7 1 0x01 3 144\nname type data\n"


def test_zfs_data_sets_with_blanks_and_numbers_below_zero(tree: Tree) -> None:
    found = values(
        make(
            "zfs",
            tree(
                {
                    f"{ZFS}/arcstats": f"{NAMED}memory_available_bytes 3 -4096\nl2-size 4 7\ntext 7 words\n",
                    f"{ZFS}/tank/objset-0x1": f"{NAMED}dataset_name 7 tank/my data\nreads 4 5\n",
                    f"{ZFS}/tank/state": "ONLINE\n",
                }
            ),
        )
    )

    assert found["node_zfs_arc_memory_available_bytes"] == -4096
    assert found["node_zfs_arc_l2_size"] == 7
    assert found['node_zfs_zpool_dataset_reads{dataset="tank/my data", zpool="tank"}'] == 5
    assert {series for series, value in found.items() if "zpool_state" in series and value} == {
        'node_zfs_zpool_state{state="online", zpool="tank"}'
    }
    assert len(found) == 3 + 7


BTRFS = "sys/fs/btrfs/3d2f6f1c-1b7e-4f57-9d36-0b3a35a3e0c1"


def btrfs(layouts: dict[str, str], devices: int) -> dict[str, str]:
    """The files of a file system with a group of blocks in each layout."""
    files = {f"{BTRFS}/devices/sd{number}/size": "2048\n" for number in range(devices)}
    files |= {f"{BTRFS}/allocation/{group}/{layout}/used_bytes": "5\n" for group, layout in layouts.items()}
    return files | {"proc/1/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n", "sys/fs/btrfs/features/x": ""}


@pytest.mark.parametrize(
    ("layout", "devices", "ratio"),
    [
        ("single", 1, 1),
        ("dup", 1, 2),
        ("raid1c4", 4, 4),
        ("raid5", 3, 1.5),
        ("raid6", 4, 2),
        ("raid6", 2, 0),
        ("new", 2, 0),
    ],
)
def test_how_often_btrfs_keeps_a_block(layout: str, devices: int, ratio: float, tree: Tree) -> None:
    roots = tree(btrfs({"data": layout, "metadata": "single", "system": "single"}, devices))
    found = values(BtrfsCollector(roots))
    uuid = 'uuid="3d2f6f1c-1b7e-4f57-9d36-0b3a35a3e0c1"'

    assert found[f'node_btrfs_allocation_ratio{{block_group_type="data", mode="{layout}", {uuid}}}'] == ratio
    assert found[f'node_btrfs_device_size_bytes{{device="sd0", {uuid}}}'] == 2048 * 512
    assert found[f"node_btrfs_info{{{uuid}}}"] == 1


def test_no_btrfs_is_no_series(tree: Tree) -> None:
    assert values(BtrfsCollector(tree({"sys/fs/btrfs/features/extended_iref": "0\n"}))) == {}


def test_ioctls_of_btrfs_are_those_of_the_kernel() -> None:
    """As the C compiler makes them of BTRFS_IOC_FS_INFO, _DEV_INFO and _GET_DEV_STATS in linux/btrfs.h."""
    made = (btrfs_devices.GET_FS_INFO, btrfs_devices.GET_DEV_INFO, btrfs_devices.GET_DEV_STATS)
    assert [hex(request) for request in made] == ["0x8400941f", "0xd000941e", "0xc4089434"]
    with pytest.raises(OSError, match="Inappropriate ioctl"):
        read_devices("/proc")


def test_a_disk_is_described_anew_when_udev_says_so(tmp_path: Path, tree: Tree) -> None:
    tree({"proc/diskstats": "8 0 sda " + " ".join(["1"] * 17), "udev/b8:0": "E:ID_MODEL=Old\n"})
    roots = Roots(procfs=tmp_path / "proc", sysfs=tmp_path / "sys", udev_data=tmp_path / "udev")
    collector = make("diskstats", roots)
    before = set(values(collector))
    tree({"udev/b8:0": "E:ID_MODEL=New\n"})
    os.utime(tmp_path / "udev/b8:0", ns=(1, 1))
    after = set(values(collector))

    assert {series.split('model="')[1][:3] for series in before ^ after} == {"Old", "New"}


@pytest.mark.parametrize(
    ("name", "file", "text"),
    [
        ("diskstats", "proc/diskstats", "8 0 sda 1 2 x\n"),
        ("entropy", "proc/sys/kernel/random/entropy_avail", "much\n"),
        ("filefd", "proc/sys/fs/file-nr", "1\t0\tmany\n"),
        ("kernel_hung", "proc/sys/kernel/hung_task_detect_count", "few\n"),
        ("loadavg", "proc/loadavg", "a b c 1/2 3\n"),
        ("mdadm", "proc/mdstat", "Personalities : [raid1]\nmd0 : active raid1 sda1[0]\n\n"),
        ("meminfo", "proc/meminfo", "MemTotal: 5 kB\nMemFree: x kB\n"),
        ("os", OS_RELEASE, 'NAME="not closed\n'),
        ("pressure", "proc/pressure/cpu", "some avg10=0.00\n"),
        ("schedstat", "proc/schedstat", "cpu0 1 2 3 4 5 6 x 8 9\n"),
        ("stat", "proc/stat", "btime never\n"),
        ("vmstat", "proc/vmstat", "pgfault 1\npgpgin x\n"),
        ("xfs", "sys/fs/xfs/sda1/stats/stats", "rw 1 x\n"),
        ("zfs", f"{ZFS}/arcstats", "nothing of the kind\n"),
        ("zfs", f"{ZFS}/zil", f"{NAMED}zil_commit_count 4 x\n"),
    ],
)
def test_a_garbled_file_is_named(name: str, file: str, text: str, tree: Tree) -> None:
    others = {"proc/sys/kernel/random/poolsize": "256\n"} if name == "entropy" else {}

    with pytest.raises(ValueError, match=file):
        list(make(name, tree({file: text, **others})).collect())
