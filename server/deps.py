"""What the server needs of the other rooms, handed over by whoever composes the process."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry

from exposition.model import Metadata
from promql.cache import RangeCache
from promql.engine import Engine
from promql.memory import MemoryBudget
from scraper.inventory import Inventory
from scraper.manager import ActiveTarget, DroppedTarget
from scraper.relabel import RelabelConfig
from server.query_log import QueryLog
from tsdb.store import Store

STATIC_DIRECTORY = Path(__file__).parent / "static"


class TargetsProvider(Protocol):
    """The scraper of this process (scraper.manager.ScrapeManager). Called on the event loop: nothing may block."""

    def scrape_pools(self) -> Sequence[str]:
        """The names of the jobs, sorted."""

    def active_targets(self) -> Sequence[ActiveTarget]:
        """The targets that are scraped, by pool."""

    def dropped_targets(self) -> Sequence[DroppedTarget]:
        """The targets that relabelling dropped, by pool, as far as they are kept."""

    def dropped_counts(self) -> Mapping[str, int]:
        """How many targets relabelling dropped, by pool."""

    def metadata(self) -> Mapping[str, Sequence[Metadata]]:
        """By metric family the distinct metadata that active targets give for it."""

    def relabel_configs(self, scrape_pool: str) -> Sequence[RelabelConfig] | None:
        """The relabelling of a job's targets; None where there is no such job."""

    @property
    def inventory(self) -> Inventory | None:
        """The targets that are known, scraped or not; None where no such list is kept."""


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """What runs here. `version` is Fleetwatch's own."""

    version: str
    revision: str = ""
    branch: str = ""
    build_user: str = ""
    build_date: str = ""


@dataclass(frozen=True, slots=True)
class ConfigStatus:
    """The configuration in force: its YAML, when it was loaded, and whether the last attempt to load one succeeded."""

    yaml: str = ""
    loaded_ms: int = 0
    reload_succeeded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Everything `create_app` composes.

    `targets` is None where this process scrapes nothing. `ready` says whether requests can be served. `reload`
    re-reads the configuration and raises FleetwatchError where it is refused; None where the lifecycle endpoint is
    off. `flags` are the command line's. `external_url` is where others reach this server, without a slash at its end;
    empty for this host's name and port. `enable_admin_api` lets clients delete series and make snapshots. `registry` is
    the process's own; the app adds its collectors
    (fleetwatch_http_*, fleetwatch_tsdb_*, fleetwatch_build_info, process_*) to it. Queries run on `query_threads`,
    within `query_memory`; an answer larger than `max_response_bytes` is refused, 0 means no limit.
    """

    store: Store
    engine: Engine
    build: BuildInfo
    registry: CollectorRegistry
    ready: Callable[[], bool]
    targets: TargetsProvider | None = None
    reload: Callable[[], Awaitable[None]] | None = None
    config_status: Callable[[], ConfigStatus] = ConfigStatus
    flags: Mapping[str, str] = field(default_factory=dict)
    retention: str = ""
    external_url: str = ""
    enable_admin_api: bool = False
    static_directory: Path = STATIC_DIRECTORY
    query_threads: int = 4
    query_timeout_s: float = 120.0
    query_memory: MemoryBudget = field(default_factory=MemoryBudget)
    max_response_bytes: int = 0
    query_log: QueryLog | None = None
    range_cache: RangeCache | None = None
