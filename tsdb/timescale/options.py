"""How a process uses the database: what the constructor of TimescaleStore takes beside the DSN."""

from dataclasses import dataclass
from pathlib import Path

SPOOL_BYTES = 1 << 30
HEAD_MS = 3600 * 1000
STATEMENT_TIMEOUT_S = 60.0
COMMIT_DELAY_S = 0.5


@dataclass(frozen=True, slots=True)
class Options:
    """`spool` is a directory that no other process uses. See `storage.timescaledb` in docs/config.md for the rest."""

    spool: Path
    spool_bytes: int = SPOOL_BYTES
    read_replicas: tuple[str, ...] = ()
    """DSNs. What a query reads is read there."""
    head_ms: int = HEAD_MS
    """How much of the newest samples is in memory; 0 for none, in a process that only scrapes."""
    narrow: bool = False
    """Whether sealed samples go into the hypertable `sample` too, a row each."""
    pool_size: int | None = None
    """The most connections; None for two for each core."""
    statement_timeout_s: float = STATEMENT_TIMEOUT_S
    commit_delay_s: float = COMMIT_DELAY_S
    """How long what arrives is gathered for one transaction."""
    start_without: bool = False
    """Whether it opens while the database is away, and spools until it is there: for processes that scrape."""
