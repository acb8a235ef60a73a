"""Calls that this host's NFS client made (/proc/net/rpc/nfs; kernel: net/sunrpc/stats.c, fs/nfs/nfs*xdr.c)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from exporter.collectors.lines import parse_lines
from exporter.errors import NoDataError
from exporter.roots import Roots
from exposition.writer import Family, label_text

# The calls of each version of the protocol, in the order of the kernel's tables, by node_exporter's names.
V2_CALLS = """
    Null GetAttr SetAttr Root Lookup ReadLink Read WrCache Write Create Remove Rename Link SymLink MkDir RmDir
    ReadDir FsStat
"""
V3_CALLS = """
    Null GetAttr SetAttr Lookup Access ReadLink Read Write Create MkDir SymLink MkNod Remove RmDir Rename Link
    ReadDir ReadDirPlus FsStat FsInfo PathConf Commit
"""
_V4_CALLS = """
    Null Read Write Commit Open OpenConfirm OpenNoattr OpenDowngrade Close Setattr FsInfo Renew SetClientID
    SetClientIDConfirm Lock Lockt Locku Access Getattr Lookup LookupRoot Remove Rename Link Symlink Create Pathconf
    StatFs ReadLink ReadDir ServerCaps DelegReturn GetACL SetACL FsLocations ReleaseLockowner Secinfo FsidPresent
    ExchangeID CreateSession DestroySession Sequence GetLeaseTime ReclaimComplete GetDeviceInfo LayoutGet
    LayoutCommit LayoutReturn SecinfoNoName TestStateID FreeStateID GetDeviceList BindConnToSession DestroyClientID
    Seek Allocate DeAllocate LayoutStats Clone
"""

# Keyword of a line -> the fewest and the most numbers behind it. The proc lines start with how many follow.
_LINES = {"net": (4, 4), "rpc": (3, 3), "proc2": (19, None), "proc3": (23, None), "proc4": (1, None)}

Statistics = Mapping[str, list[int]]
"""The numbers of each line by its keyword."""


class NfsCollector:
    """`node_nfs_*`."""

    def __init__(self, roots: Roots) -> None:
        self._nfs = roots.procfs / "net/rpc/nfs"
        self._calls = {
            "proc2": call_labels("2", V2_CALLS),
            "proc3": call_labels("3", V3_CALLS),
            "proc4": call_labels("4", _V4_CALLS),
        }

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        lines = read_statistics(self._nfs, _LINES)
        _, udp, tcp, connections = lines.get("net", [0] * 4)
        rpcs, retransmissions, refreshes = lines.get("rpc", [0] * 3)
        packets = Family(
            "node_nfs_packets_total", "counter", "Total NFSd network packets (sent+received) by protocol type."
        )
        packets.add(udp, label_text(protocol="udp"))
        packets.add(tcp, label_text(protocol="tcp"))
        yield packets
        for name, text, value in [
            ("connections_total", "Total number of NFSd TCP connections.", connections),
            ("rpcs_total", "Total number of RPCs performed.", rpcs),
            ("rpc_retransmissions_total", "Number of RPC transmissions performed.", retransmissions),
            ("rpc_authentication_refreshes_total", "Number of RPC authentication refreshes performed.", refreshes),
        ]:
            yield Family.single(f"node_nfs_{name}", "counter", text, value)
        requests = Family("node_nfs_requests_total", "counter", "Number of NFS procedures invoked.")
        add_calls(requests, lines, self._calls)
        yield requests


def read_statistics(path: Path, known: Mapping[str, tuple[int, int | None]]) -> Statistics:
    """The lines of a file in /proc/net/rpc. Raises NoDataError where there is none, ValueError for unknown lines."""

    def parse(line: str) -> tuple[str, list[int]]:
        keyword, *words = line.split() or [""]
        if keyword not in known:
            raise ValueError(f"a line that starts with {keyword!r} is not known: {line!r}")
        fewest, most = known[keyword]
        # Behind `th N N` stand ten fractions, which no kernel since 2.6.29 counts.
        numbers = [int(word) for word in (words[:2] if keyword == "th" else words)]
        if len(numbers) < fewest or len(numbers) > (most or len(numbers)):
            raise ValueError(f"{keyword} has {len(numbers)} numbers: {line!r}")
        if keyword.startswith("proc") and numbers[0] != len(numbers) - 1:
            raise ValueError(f"{keyword} announces {numbers[0]} numbers and has {len(numbers) - 1}")
        return keyword, numbers

    try:
        return dict(parse_lines(path, parse))
    except FileNotFoundError as error:
        raise NoDataError(f"NFS is not in use: {error}") from error


def call_labels(version: str, calls: str) -> list[str]:
    """The texts of the labels for the calls of one version; `-` stands for a call that is not reported."""
    return ["" if call == "-" else label_text(method=call, proto=version) for call in calls.split()]


def add_calls(requests: Family, lines: Statistics, calls: Mapping[str, list[str]]) -> None:
    """Add the number of each call; as in node_exporter it is 0 where the kernel does not know the call."""
    for keyword, labels in calls.items():
        numbers = lines.get(keyword, [0])[1:]
        numbers += [0] * (len(labels) - len(numbers))
        for label, number in zip(labels, numbers, strict=False):
            if label:
                requests.add(number, label)
