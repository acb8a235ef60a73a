"""What the labels of all roles have in common."""

from collections.abc import Mapping
from functools import lru_cache

from scraper.discovery.kubernetes.objects import ObjectMeta, ObjectReference
from scraper.discovery.labels import label_name

PREFIX = "__meta_kubernetes_"
NAMESPACE = f"{PREFIX}namespace"

Labels = dict[str, str]


def object_labels(kind: str, meta: ObjectMeta) -> Labels:
    """Name, labels and annotations of an object; `kind` is the word in the names of the labels."""
    return {
        f"{PREFIX}{kind}_name": meta.name,
        **with_presence(f"{PREFIX}{kind}_label", meta.labels),
        **with_presence(f"{PREFIX}{kind}_annotation", meta.annotations),
    }


def with_presence(prefix: str, values: Mapping[str, str] | None) -> Labels:
    """Each value, and for each that it is there: `<prefix>_<key>` and `<prefix>present_<key>`."""
    labels = {}
    for key, value in (values or {}).items():
        name, presence = _names(prefix, key)
        labels[name] = value
        labels[presence] = "true"
    return labels


@lru_cache(maxsize=10_000)  # a cluster's objects have few keys, and thousands of times each
def _names(prefix: str, key: str) -> tuple[str, str]:
    name = label_name(key)
    return f"{prefix}_{name}", f"{prefix}present_{name}"


def key(meta: ObjectMeta | ObjectReference) -> str:
    """What an object is known by among those of its kind: `namespace/name`, or the name alone."""
    return f"{meta.namespace}/{meta.name}" if meta.namespace else meta.name
