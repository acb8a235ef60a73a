"""The server's own metrics, on the registry of the process."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from server.deps import BuildInfo
from tsdb.store import Store

_DURATION_BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class HttpMetrics:
    """Requests by handler (the route's pattern, never the path itself)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "fleetwatch_http_requests_total", "Requests answered.", ["handler", "code"], registry=registry
        )
        self.duration = Histogram(
            "fleetwatch_http_request_duration_seconds",
            "Time to the end of an answer.",
            ["handler"],
            buckets=_DURATION_BUCKETS_S,
            registry=registry,
        )
        self.in_flight = Gauge(
            "fleetwatch_http_requests_in_flight", "Requests that are being answered.", registry=registry
        )


class StoreCollector:
    """The store's figures, read when scraped."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> list[Metric]:
        """Nothing ahead of time: what figures there are depends on the store."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One metric per figure: a counter where its name ends in `_total`, else a gauge."""
        for name, value in sorted(self._store.stats().items()):
            counted = name.removesuffix("_total")
            family = GaugeMetricFamily if counted == name else CounterMetricFamily
            yield family(f"fleetwatch_tsdb_{counted}", f"Of the store: {counted.replace('_', ' ')}.", value)


def register(registry: CollectorRegistry, store: Store, build: BuildInfo) -> HttpMetrics:
    """Add everything the server shows of itself."""
    ProcessCollector(registry=registry)
    registry.register(StoreCollector(store))
    info = Gauge(
        "fleetwatch_build_info", "Always 1; what runs here.", ["version", "revision", "branch"], registry=registry
    )
    info.labels(build.version, build.revision, build.branch).set(1)
    return HttpMetrics(registry)
