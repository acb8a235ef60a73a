"""Discovery's own metrics, on an injected registry."""

from prometheus_client import CollectorRegistry, Counter, Histogram


class DiscoveryMetrics:
    """Refreshes by mechanism (`http`, `dns`, ...), as Prometheus's `prometheus_sd_refresh_*` count them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            "fleetwatch_sd_refresh_failures",
            "Refreshes of a source that brought no usable answer.",
            ["mechanism"],
            registry=registry,
        )
        self.duration_s = Histogram(
            "fleetwatch_sd_refresh_duration_seconds",
            "How long the refreshes of sources took.",
            ["mechanism"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
            registry=registry,
        )
