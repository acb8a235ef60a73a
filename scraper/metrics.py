"""The scraper's own metrics, on an injected registry."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ScrapeMetrics:
    """Counters of everything that scrape loops do and meet."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.scrapes = Counter("fleetwatch_target_scrapes", "Scrapes done.", registry=registry)
        self.scrapes_failed = Counter(
            "fleetwatch_target_scrapes_failed", "Scrapes that brought no samples.", registry=registry
        )
        self.scrapes_missed = Counter(
            "fleetwatch_target_scrapes_missed",
            "Scrapes left out because the one before, or its write, was not done.",
            registry=registry,
        )
        self.samples = Counter("fleetwatch_target_samples", "Samples in the bodies of targets.", registry=registry)
        self.layouts_changed = Counter(
            "fleetwatch_target_scrape_layouts_changed",
            "Scrapes whose lines were not recognised as those of the scrape before.",
            registry=registry,
        )
        self.limit_exceeded = Counter(
            "fleetwatch_target_scrapes_exceeded_limit",
            "Scrapes that failed because of a limit of the job or of the store.",
            registry=registry,
        )
        self.series_refused = Counter(
            "fleetwatch_target_series_refused",
            "Series refused because their job keeps known series at a limit, counted at each scrape.",
            registry=registry,
        )
        self.duplicates = Counter(
            "fleetwatch_target_scrapes_sample_duplicate_timestamp",
            "Samples rejected because the body had the series before.",
            registry=registry,
        )
        self.out_of_bounds = Counter(
            "fleetwatch_target_scrapes_sample_out_of_bounds",
            "Samples rejected because their timestamp is too far in the future.",
            registry=registry,
        )
        self.writes_refused = Counter(
            "fleetwatch_target_writes_refused", "Scrapes that the store did not take.", registry=registry
        )
        self.sync_failed = Counter(
            "fleetwatch_target_sync_failed", "Discovered targets that make no target.", registry=registry
        )
        self.pool_targets = Gauge(
            "fleetwatch_target_scrape_pool_targets", "Targets of a job.", ["scrape_job"], registry=registry
        )
        self.lateness_s = Histogram(
            "fleetwatch_target_scrape_lateness_seconds",
            "How long after its due time a scrape started.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
            registry=registry,
        )
