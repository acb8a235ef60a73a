"""Calls that this host's NFS server answered (/proc/net/rpc/nfsd; kernel: fs/nfsd/stats.c)."""

from collections.abc import Iterator

from exporter.collectors.nfs import V2_CALLS, V3_CALLS, add_calls, call_labels, read_statistics
from exporter.roots import Roots
from exposition.writer import Family, label_text

# By the number of the operation; those of `-` are not reported.
_V4_OPERATIONS = """
    - - - Access Close Commit Create DelegPurge DelegReturn GetAttr GetFH Link Lock Lockt Locku Lookup LookupRoot
    Nverify Open OpenAttr OpenConfirm OpenDgrd PutFH - - Read ReadDir ReadLink Remove Rename Renew RestoreFH SaveFH
    SecInfo SetAttr SetClientID SetClientIDConfirm Verify Write RelLockOwner
"""

# Keyword of a line -> the fewest and the most numbers behind it. The proc lines start with how many follow.
_LINES = {
    "rc": (3, 3),
    "fh": (5, 5),
    "io": (2, 2),
    "th": (2, 2),
    "ra": (12, 12),
    "net": (4, 4),
    "rpc": (5, 5),
    "proc2": (19, None),
    "proc3": (23, None),
    "proc4": (3, 3),
    "proc4ops": (40, None),
    "wdeleg_getattr": (1, 1),
}

# Name behind node_nfsd_, type, help, and for each sample its labels, line and column.
_METRICS = [
    (
        "reply_cache_hits_total",
        "counter",
        "Total number of NFSd Reply Cache hits (client lost server response).",
        [("", "rc", 0)],
    ),
    (
        "reply_cache_misses_total",
        "counter",
        "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
        [("", "rc", 1)],
    ),
    (
        "reply_cache_nocache_total",
        "counter",
        "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
        [("", "rc", 2)],
    ),
    ("file_handles_stale_total", "counter", "Total number of NFSd stale file handles", [("", "fh", 0)]),
    ("disk_bytes_read_total", "counter", "Total NFSd bytes read.", [("", "io", 0)]),
    ("disk_bytes_written_total", "counter", "Total NFSd bytes written.", [("", "io", 1)]),
    ("server_threads", "gauge", "Total number of NFSd kernel threads that are running.", [("", "th", 0)]),
    ("read_ahead_cache_size_blocks", "gauge", "How large the read ahead cache is in blocks.", [("", "ra", 0)]),
    (
        "read_ahead_cache_not_found_total",
        "counter",
        "Total number of NFSd read ahead cache not found.",
        [("", "ra", 11)],
    ),
    (
        "packets_total",
        "counter",
        "Total NFSd network packets (sent+received) by protocol type.",
        [(label_text(proto="udp"), "net", 1), (label_text(proto="tcp"), "net", 2)],
    ),
    ("connections_total", "counter", "Total number of NFSd TCP connections.", [("", "net", 3)]),
    (
        "rpc_errors_total",
        "counter",
        "Total number of NFSd RPC errors by error type.",
        [
            (label_text(error="fmt"), "rpc", 2),
            (label_text(error="auth"), "rpc", 3),
            (label_text(error="cInt"), "rpc", 4),
        ],
    ),
    ("server_rpcs_total", "counter", "Total number of NFSd RPCs.", [("", "rpc", 0)]),
]


class NfsdCollector:
    """`node_nfsd_*`."""

    def __init__(self, roots: Roots) -> None:
        self._nfsd = roots.procfs / "net/rpc/nfsd"
        self._calls = {
            "proc2": call_labels("2", V2_CALLS.replace("Null", "-")),
            "proc3": call_labels("3", V3_CALLS.replace("Null", "-")),
            "proc4ops": call_labels("4", _V4_OPERATIONS),
        }
        self._delegation_labels = label_text(method="WdelegGetattr", proto="4")

    def collect(self) -> Iterator[Family]:
        """See registry.Collector. As in node_exporter, a line that the kernel does not have counts as zeros."""
        lines = read_statistics(self._nfsd, _LINES)
        for name, kind, text, samples in _METRICS:
            family = Family(f"node_nfsd_{name}", kind, text)
            for labels, keyword, column in samples:
                family.add(lines[keyword][column] if keyword in lines else 0, labels)
            yield family
        requests = Family("node_nfsd_requests_total", "counter", "Total number NFSd Requests by method and protocol.")
        add_calls(requests, lines, self._calls)
        requests.add(lines.get("wdeleg_getattr", [0])[0], self._delegation_labels)
        yield requests
