"""Two exporters' expositions side by side."""

from common.labels import Labels
from exposition.model import Exposition, Sample

HostMetrics = dict[tuple[str, Labels, str, str], float]


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
