"""Two exporters' expositions side by side."""

from common.labels import Labels
from exposition.model import Exposition, Sample

Key = tuple[str, Labels, str, str]
HostMetrics = dict[Key, float]

RELATIVE_SLACK = 0.02
_MEBIBYTE = 2**20
# How far a gauge may stray between three reads on a busy host.
SLACK = {
    "node_memory_": 256 * _MEBIBYTE,
    "node_filesystem_avail_bytes": 256 * _MEBIBYTE,
    "node_filesystem_free_bytes": 256 * _MEBIBYTE,
    "node_filesystem_files_free": 10_000,
    "node_procs_": 50,
    "node_sockstat_": 50,
    "node_filefd_": 500,
    "node_entropy_": 256,
    "node_netstat_Tcp_CurrEstab": 20,
    "node_arp_entries": 2,
    "node_load": 0.5,
    "node_disk_io_now": 100,
}
# The kernel's own sums of CPU time run backwards by a tick now and then.
COUNTER_SLACK = 0.02


def host_metrics(exposition: Exposition) -> HostMetrics:
    """Values of what is about the host and not the exporter, by name, labels, type and help."""
    found = {}
    for sample in exposition.samples:
        name = sample.labels.metric_name
        if name.startswith("node_") and not name.startswith(("node_scrape_", "node_exporter_")):
            known = exposition.metadata[name]
            # node_exporter 1.11 says 0 for every disk on kernels that no longer have all the files it reads beside.
            found[name, sample.labels.without("rotational"), known.type, known.help] = sample.value
    return found


def only_labels_of(theirs: Exposition, ours: Exposition) -> Exposition:
    """Our exposition less the labels that their metric of the same name never has: older versions have fewer."""
    names: dict[str, set[str]] = {}
    for sample in theirs.samples:
        names.setdefault(sample.labels.metric_name, set()).update(name for name, _ in sample.labels)
    samples = [
        Sample(sample.labels.only(*names.get(sample.labels.metric_name, ["__name__"])), sample.value)
        for sample in ours.samples
    ]
    return Exposition(samples, ours.metadata)


def is_between(value: float, before: HostMetrics, after: HostMetrics, key: Key) -> bool:
    """Whether a value agrees with those that were read before and after it."""
    name, _, metric_type, _ = key
    low, high = sorted((before[key], after[key]))
    slack = COUNTER_SLACK if metric_type == "counter" else slack_of(name, high)
    return low - slack <= value <= high + slack


def slack_of(name: str, value: float) -> float:
    absolute = next((slack for prefix, slack in SLACK.items() if name.startswith(prefix)), 0)
    return max(absolute, RELATIVE_SLACK * value)
