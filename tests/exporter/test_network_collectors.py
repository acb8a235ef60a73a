"""Network collectors: their options beside node_exporter's, old kernels, missing and garbled files."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter.catalog import COLLECTORS
from exporter.collectors.netdev import NetdevCollector, NetdevOptions
from exporter.errors import NoDataError
from exporter.registry import Collector
from exporter.roots import Roots
from exposition.formats import Format
from exposition.text import parse_text
from exposition.writer import write
from tests.exporter.comparison import HostMetrics, host_metrics
from tests.exporter.node_exporter import fetch, node_exporter, node_exporter_version

HOST = Path(__file__).parent / "host"
ROOTS = Roots(procfs=HOST / "proc", sysfs=HOST / "sys")
NEWEST = (1, 11)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    """The recorded host's network files, to be changed."""
    for folder in ("proc/net", "proc/sys/net", "sys/class/net"):
        shutil.copytree(HOST / folder, tmp_path / folder, symlinks=True)
    return Roots(procfs=tmp_path / "proc", sysfs=tmp_path / "sys")


def make(name: str, roots: Roots, options: dict[str, Any] | None = None) -> Collector:
    kind = COLLECTORS[name]
    return kind.make(roots, msgspec.convert(options or {}, kind.options))


def metrics(collector: Collector) -> HostMetrics:
    return host_metrics(parse_text(write(collector.collect(), Format.TEXT)))


def values(collector: Collector) -> dict[str, float]:
    return {str(labels): value for (_, labels, _, _), value in metrics(collector).items()}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("arp", {"device_exclude": "^bond"}),
        ("arp", {"device_include": "^bond"}),
        ("netclass", {"ignored_devices": "^(lo|eth[01])$"}),
        ("netclass", {"ignore_invalid_speed": True}),
        ("netdev", {"device_include": "eth"}),
        ("netdev", {"device_exclude": "eth", "label_ifalias": True}),
        ("netdev", {"label_ifalias": True}),
        ("netstat", {"fields": ""}),
        ("netstat", {"fields": "^(Tcp_RtoMax|IcmpMsg_.*|Icmp6_Out.*|MPTcpExt_.*)$"}),
    ],
)
def test_options_do_what_those_of_node_exporter_do(name: str, options: dict[str, Any]) -> None:
    version = node_exporter_version()
    if version < NEWEST:
        pytest.skip(f"node_exporter {version} differs from {NEWEST}, whose options these are")
    flags = [f"--path.procfs={ROOTS.procfs}", f"--path.sysfs={ROOTS.sysfs}", "--collector.disable-defaults"]
    flags += ["--no-collector.arp.netlink", "--no-collector.netdev.netlink", f"--collector.{name}"]
    for option, value in options.items():
        flag = f"--collector.{name}.{option.replace('_', '-')}"
        flags.append(flag if value is True else f"{flag}={value}")
    with node_exporter(*flags) as url:
        expected = host_metrics(parse_text(fetch(url)[0]))

    found = metrics(make(name, ROOTS, options))

    assert expected
    # Which node_exporter reads by netlink alone.
    assert {key: value for key, value in found.items() if "nohandler" not in key[0]} == expected
    assert found.keys() != metrics(make(name, ROOTS)).keys()


@pytest.mark.parametrize(
    ("name", "series", "value"),
    [
        ("arp", 'node_arp_entries{device="eth0"}', 2),
        ("bonding", 'node_bonding_active{master="bond0"}', 1),
        ("bonding", 'node_bonding_slaves{master="bond0"}', 2),
        ("conntrack", "node_nf_conntrack_entries", 165),
        ("conntrack", "node_nf_conntrack_stat_early_drop", 1),
        ("conntrack", "node_nf_conntrack_stat_found", 0x11 + 0x2),
        ("conntrack", "node_nf_conntrack_stat_insert_failed", 3 + 1),
        ("conntrack", "node_nf_conntrack_stat_invalid", 0x2B + 0x4),
        ("conntrack", "node_nf_conntrack_stat_search_restart", 0xFF + 0x1),
        ("netclass", 'node_network_device_id{device="eth0"}', 0x20),
        ("netclass", 'node_network_speed_bytes{device="eth0"}', 125_000_000),
        ("netclass", 'node_network_speed_bytes{device="eth2"}', -125_000),
        ("netstat", "node_netstat_Icmp6_OutMsgs", 8),
        ("netstat", "node_netstat_IpExt_OutOctets", 12345678901),
        ("netstat", "node_netstat_Tcp_CurrEstab", 7),
        ("nfs", 'node_nfs_requests_total{method="Clone", proto="4"}', 9),
        ("nfsd", 'node_nfsd_requests_total{method="Read", proto="4"}', 150),
        ("nfsd", 'node_nfsd_requests_total{method="WdelegGetattr", proto="4"}', 31),
        ("sockstat", "node_sockstat_TCP_alloc", 17),
        ("sockstat", "node_sockstat_TCP_mem_bytes", 21 * os.sysconf("SC_PAGE_SIZE")),
        ("softnet", 'node_softnet_times_squeezed_total{cpu="1"}', 12),
        ("udp_queues", 'node_udp_queues{ip="v4", queue="rx"}', 0xA80 + 3),
        ("udp_queues", 'node_udp_queues{ip="v4", queue="tx"}', 0x15 + 1),
    ],
)
def test_values_of_the_recorded_host(name: str, series: str, value: float) -> None:
    assert values(make(name, ROOTS))[series] == value


def test_detailed_statistics_are_the_files_of_sysfs() -> None:
    found = values(NetdevCollector(ROOTS, NetdevOptions(device_include="^eth0$", enable_detailed_metrics=True)))

    expected = {}
    for file in (ROOTS.sysfs / "class/net/eth0/statistics").iterdir():
        statistic = file.name.replace("rx_", "receive_", 1).replace("tx_", "transmit_", 1)
        expected[f'node_network_{statistic}_total{{device="eth0"}}'] = int(file.read_text())
    assert len(expected) == 24
    assert found == expected


@pytest.mark.parametrize("name", ["arp", "netdev"])
def test_including_and_excluding_at_once_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="mutually exclusive"):
        make(name, ROOTS, {"device_include": "a", "device_exclude": "b"})


@pytest.mark.parametrize(
    ("name", "option"),
    [("arp", "device_include"), ("netclass", "ignored_devices"), ("netdev", "device_exclude"), ("netstat", "fields")],
)
def test_what_is_no_regular_expression_is_refused(name: str, option: str) -> None:
    with pytest.raises(ValueError, match=re.escape("'(eth' is no regular expression")):
        make(name, ROOTS, {option: "(eth"})


@pytest.mark.parametrize("name", ["bonding", "conntrack", "netclass", "nfs", "nfsd", "udp_queues"])
def test_what_the_host_does_not_have_is_no_data(name: str, tmp_path: Path) -> None:
    with pytest.raises(NoDataError):
        list(make(name, Roots(procfs=tmp_path, sysfs=tmp_path)).collect())


@pytest.mark.parametrize("name", ["arp", "netdev", "netstat", "softnet"])
def test_files_that_every_kernel_has_must_be_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(make(name, Roots(procfs=tmp_path, sysfs=tmp_path)).collect())


@pytest.mark.parametrize(
    ("name", "missing", "gone"),
    [
        ("conntrack", "net/stat/nf_conntrack", "_stat_"),
        ("netstat", "net/snmp6", "6_"),
        ("sockstat", "net/sockstat", r"sockets_used|_(TCP|UDP|UDPLITE|RAW|FRAG)_"),
        ("sockstat", "net/sockstat6", "6_"),
        ("udp_queues", "net/udp", "v4"),
        ("udp_queues", "net/udp6", "v6"),
    ],
)
def test_a_file_that_a_kernel_may_lack_costs_its_own_series(name: str, missing: str, gone: str, roots: Roots) -> None:
    before = values(make(name, roots))
    (roots.procfs / missing).unlink()

    left = {series: value for series, value in before.items() if not re.search(gone, series)}
    assert values(make(name, roots)) == left
    assert left
    assert left != before


@pytest.mark.parametrize(
    ("name", "file", "line", "text"),
    [
        ("arp", "net/arp", 3, "192.0.2.7        0x1"),
        ("conntrack", "net/stat/nf_conntrack", 3, "000000a5  00000000 0000"),
        ("conntrack", "net/stat/nf_conntrack", 2, " ".join(["0000000x"] * 17)),
        ("netdev", "net/dev", 4, "  eth0:836663739   19698    1"),
        ("netdev", "net/dev", 3, " lo 5 6"),
        ("netstat", "net/netstat", 2, "TcpExt: 3 4 5"),
        ("netstat", "net/snmp", 4, "Icmp: 104 five 0 230"),
        ("netstat", "net/snmp", 6, "Udp: 99 41"),
        ("netstat", "net/snmp6", 3, "Ip6OutOctets"),
        ("netstat", "net/snmp6", 2, "Ip6InOctets many"),
        ("nfs", "net/rpc/nfs", 2, "rpc 1218785755"),
        ("nfs", "net/rpc/nfs", 3, "proc2 18 16 57"),
        ("nfs", "net/rpc/nfs", 4, "proc3 24" + " 5" * 23),
        ("nfs", "net/rpc/nfs", 1, "nat 70 4 66 45"),
        ("nfsd", "net/rpc/nfsd", 4, "th 8"),
        ("nfsd", "net/rpc/nfsd", 9, "proc4ops 2 0 0"),
        ("nfsd", "net/rpc/nfsd", 3, "io 157286400 -"),
        ("sockstat", "net/sockstat", 2, "TCP: inuse 4 orphan"),
        ("sockstat", "net/sockstat6", 1, "TCP6: inuse x"),
        ("sockstat", "net/sockstat6", 4, "RAW6"),
        ("softnet", "net/softnet_stat", 2, "00038071 00000000"),
        ("softnet", "net/softnet_stat", 3, " ".join(["0000000g"] * 15)),
        ("udp_queues", "net/udp", 3, "  390: 0100007F:0143"),
        ("udp_queues", "net/udp6", 2, "  345: 0:0222 0:0000 07 00000000 00:00"),
        ("udp_queues", "net/udp", 2, "  345: 0:0044 0:0000 07 0000000z:00000000 00:00"),
    ],
)
def test_a_garbled_line_is_named(name: str, file: str, line: int, text: str, roots: Roots) -> None:
    path = roots.procfs / file
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[: line - 1], text, *lines[line:], ""]))

    with pytest.raises(ValueError, match=re.escape(f"{path}, line {line}") + "[:,] ."):
        list(make(name, roots).collect())


def test_a_file_that_ends_after_a_line_of_names_is_named(roots: Roots) -> None:
    path = roots.procfs / "net/snmp"
    path.write_text(path.read_text().rpartition("Udp:")[0])

    with pytest.raises(ValueError, match=re.escape(f"{path}, line ")):
        list(make("netstat", roots).collect())


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("conntrack", "proc/sys/net/netfilter/nf_conntrack_count"),
        ("netclass", "sys/class/net/eth0/mtu"),
        ("netdev", "sys/class/net/eth0/statistics/rx_nohandler"),
    ],
)
def test_a_garbled_number_is_named(name: str, file: str, roots: Roots) -> None:
    path = roots.procfs.parent / file
    path.write_text("many\n")

    with pytest.raises(ValueError, match=re.escape(str(path)) + r".*: .*'many"):
        list(make(name, roots).collect())


@pytest.mark.parametrize("columns", [9, 11, 13])
def test_softnet_of_old_kernels(columns: int, roots: Roots) -> None:
    """CPU 2 is off: only kernels that give the CPU's number can tell."""
    path = roots.procfs / "net/softnet_stat"
    rows = [line.split()[:columns] for line in path.read_text().splitlines()]
    path.write_text("".join(" ".join(row) + "\n" for row in rows))

    found = values(make("softnet", roots))

    last_cpu = 3 if columns == 13 else 2
    assert found[f'node_softnet_dropped_total{{cpu="{last_cpu}"}}'] == 9
    assert found['node_softnet_cpu_collision_total{cpu="0"}'] == 3
    assert found['node_softnet_flow_limit_count_total{cpu="0"}'] == (5 if columns > 9 else 0)
    assert found['node_softnet_backlog_len{cpu="0"}'] == (6 if columns > 11 else 0)
    assert len(found) == 7 * 3


def test_a_new_column_of_snmp_between_two_scrapes_shifts_no_value(roots: Roots) -> None:
    """The kernel adds a column to IcmpMsg with the first message of a kind."""
    path = roots.procfs / "net/snmp"
    collector = make("netstat", roots, {"fields": "IcmpMsg"})
    before = values(collector)
    path.write_text(path.read_text().replace("InType3 ", "InType0 InType3 ").replace("IcmpMsg: 99", "IcmpMsg: 5 99"))

    assert before == {"node_netstat_IcmpMsg_InType3": 99, "node_netstat_IcmpMsg_OutType8": 41}
    assert values(collector) == {**before, "node_netstat_IcmpMsg_InType0": 5}


def test_devices_and_their_state_are_read_anew(roots: Roots) -> None:
    collector = make("netclass", roots)
    before = values(collector)
    devices = roots.sysfs / "class/net"
    (devices / "eth0/operstate").write_text("down\n")
    shutil.rmtree(devices / "wlan0")
    # What is left of a device that goes while it is read.
    (devices / "lo/operstate").unlink()

    after = values(collector)

    assert before['node_network_up{device="eth0"}'] == 1
    assert after['node_network_up{device="eth0"}'] == 0
    assert {series for series in after if "eth0" in series and 'operstate="down"' in series}
    assert not [series for series in after if "wlan0" in series or '"lo"' in series]
    assert len([series for series in after if series.startswith("node_network_info")]) == 4


def test_a_bond_without_slaves_is_reported(roots: Roots) -> None:
    (roots.sysfs / "class/net/bond0/bonding/slaves").write_text("\n")

    assert values(make("bonding", roots)) == {
        'node_bonding_active{master="bond0"}': 0,
        'node_bonding_slaves{master="bond0"}': 0,
    }


def test_calls_that_the_kernel_does_not_count_are_zero(roots: Roots) -> None:
    path = roots.procfs / "net/rpc/nfs"
    path.write_text("net 0 0 0 0\nrpc 1 2 3\nproc4 3 7 8 9\n")

    found = values(make("nfs", roots))

    assert found['node_nfs_requests_total{method="Write", proto="4"}'] == 9
    assert found['node_nfs_requests_total{method="Clone", proto="4"}'] == 0
    assert found['node_nfs_requests_total{method="Commit", proto="3"}'] == 0
