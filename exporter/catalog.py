"""All collectors that read /proc and /sys, by node_exporter's names. A new one is a module and a line here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from exporter.collectors.arp import ArpCollector, ArpOptions
from exporter.collectors.bonding import BondingCollector
from exporter.collectors.btrfs import BtrfsCollector
from exporter.collectors.conntrack import ConntrackCollector
from exporter.collectors.cpu import CpuCollector, CpuOptions
from exporter.collectors.cpu_vulnerabilities import CpuVulnerabilitiesCollector
from exporter.collectors.cpufreq import CpufreqCollector
from exporter.collectors.diskstats import DiskstatsCollector, DiskstatsOptions
from exporter.collectors.dmi import DmiCollector
from exporter.collectors.edac import EdacCollector
from exporter.collectors.entropy import EntropyCollector
from exporter.collectors.filefd import FilefdCollector
from exporter.collectors.filesystem import FilesystemCollector, FilesystemOptions
from exporter.collectors.hwmon import HwmonCollector, HwmonOptions
from exporter.collectors.kernel_hung import KernelHungCollector
from exporter.collectors.loadavg import LoadavgCollector
from exporter.collectors.mdadm import MdadmCollector
from exporter.collectors.meminfo import MeminfoCollector
from exporter.collectors.netclass import NetclassCollector, NetclassOptions
from exporter.collectors.netdev import NetdevCollector, NetdevOptions
from exporter.collectors.netstat import NetstatCollector, NetstatOptions
from exporter.collectors.nfs import NfsCollector
from exporter.collectors.nfsd import NfsdCollector
from exporter.collectors.nvme import NvmeCollector
from exporter.collectors.os import OsCollector
from exporter.collectors.powersupplyclass import PowersupplyclassCollector, PowersupplyclassOptions
from exporter.collectors.pressure import PressureCollector
from exporter.collectors.processes import ProcessesCollector
from exporter.collectors.processes_top import ProcessesTopCollector, ProcessesTopOptions
from exporter.collectors.rapl import RaplCollector, RaplOptions
from exporter.collectors.schedstat import SchedstatCollector
from exporter.collectors.selinux import SelinuxCollector
from exporter.collectors.server_info import ServerInfoCollector, ServerInfoOptions
from exporter.collectors.sockstat import SockstatCollector
from exporter.collectors.softnet import SoftnetCollector
from exporter.collectors.stat import StatCollector, StatOptions
from exporter.collectors.systemd import SystemdCollector, SystemdOptions
from exporter.collectors.textfile import TextfileCollector, TextfileOptions
from exporter.collectors.thermal_zone import ThermalZoneCollector
from exporter.collectors.time import TimeCollector
from exporter.collectors.timex import TimexCollector
from exporter.collectors.udp_queues import UdpQueuesCollector
from exporter.collectors.uname import UnameCollector
from exporter.collectors.vmstat import VmstatCollector, VmstatOptions
from exporter.collectors.watchdog import WatchdogCollector
from exporter.collectors.xfs import XfsCollector
from exporter.collectors.zfs import ZfsCollector
from exporter.registry import Collector
from exporter.roots import Roots


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For collectors that have nothing to set."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a collector is made, what can be set, and whether it runs by default. Making raises ValueError."""

    make: Callable[[Roots, Any], Collector]
    options: type[msgspec.Struct]
    enabled: bool


_Options = TypeVar("_Options", bound=msgspec.Struct)


def _kind(make: Callable[[Roots], Collector], *, enabled: bool = True) -> Kind:
    return Kind(lambda roots, _options: make(roots), NoOptions, enabled)


def _kind_with(options: type[_Options], make: Callable[[Roots, _Options], Collector], *, enabled: bool = True) -> Kind:
    return Kind(make, options, enabled)


COLLECTORS: Mapping[str, Kind] = {
    "arp": _kind_with(ArpOptions, ArpCollector),
    "bonding": _kind(BondingCollector),
    "btrfs": _kind(BtrfsCollector),
    "conntrack": _kind(ConntrackCollector),
    "cpu": _kind_with(CpuOptions, CpuCollector),
    "cpu_vulnerabilities": _kind(CpuVulnerabilitiesCollector, enabled=False),
    "cpufreq": _kind(CpufreqCollector),
    "diskstats": _kind_with(DiskstatsOptions, DiskstatsCollector),
    "dmi": _kind(DmiCollector),
    "edac": _kind(EdacCollector),
    "entropy": _kind(EntropyCollector),
    "filefd": _kind(FilefdCollector),
    "filesystem": _kind_with(FilesystemOptions, FilesystemCollector),
    "hwmon": _kind_with(HwmonOptions, HwmonCollector),
    "kernel_hung": _kind(KernelHungCollector),
    "loadavg": _kind(LoadavgCollector),
    "mdadm": _kind(MdadmCollector),
    "meminfo": _kind(MeminfoCollector),
    "netclass": _kind_with(NetclassOptions, NetclassCollector),
    "netdev": _kind_with(NetdevOptions, NetdevCollector),
    "netstat": _kind_with(NetstatOptions, NetstatCollector),
    "nfs": _kind(NfsCollector),
    "nfsd": _kind(NfsdCollector),
    "nvme": _kind(NvmeCollector),
    "os": _kind(OsCollector),
    "powersupplyclass": _kind_with(PowersupplyclassOptions, PowersupplyclassCollector),
    "pressure": _kind(PressureCollector),
    "processes": _kind(ProcessesCollector, enabled=False),
    "processes_top": _kind_with(ProcessesTopOptions, ProcessesTopCollector, enabled=False),
    "rapl": _kind_with(RaplOptions, RaplCollector),
    "schedstat": _kind(SchedstatCollector),
    "selinux": _kind(SelinuxCollector),
    "server_info": _kind_with(ServerInfoOptions, ServerInfoCollector),
    "sockstat": _kind(SockstatCollector),
    "softnet": _kind(SoftnetCollector),
    "stat": _kind_with(StatOptions, StatCollector),
    "systemd": _kind_with(SystemdOptions, SystemdCollector, enabled=False),
    "thermal_zone": _kind(ThermalZoneCollector),
    "time": _kind(TimeCollector),
    "timex": _kind(TimexCollector),
    "udp_queues": _kind(UdpQueuesCollector),
    "uname": _kind(UnameCollector),
    "vmstat": _kind_with(VmstatOptions, VmstatCollector),
    "watchdog": _kind(WatchdogCollector),
    "xfs": _kind(XfsCollector),
    "zfs": _kind(ZfsCollector),
    # The last: where a file says what a collector says, it is the file that is left out.
    "textfile": _kind_with(TextfileOptions, TextfileCollector),
}
