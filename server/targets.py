"""/api/v1/targets, /api/v1/scrape_pools and /api/v1/metadata: what the scraper of this process knows."""

import socket
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from yarl import URL

from common.durations import format_duration
from scraper.manager import ActiveTarget
from server.answers import Answer
from server.deps import Dependencies
from server.errors import BadDataError
from server.params import Params, integer

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which Prometheus's clients know
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


class TargetsApi:
    """Targets and their metadata; both are empty in a process without a scraper."""

    def __init__(self, deps: Dependencies) -> None:
        self._targets = deps.targets

    async def targets(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/targets: filtered by `state` (active, dropped, any) and `scrapePool`."""
        state = params.get("state").lower()
        pool = params.get("scrapePool")
        scraper = self._targets
        active = scraper.active_targets() if scraper and state in ("", "any", "active") else []
        with_dropped = state in ("", "any", "dropped")
        dropped = scraper.dropped_targets() if scraper and with_dropped else []
        counts = dict(scraper.dropped_counts()) if scraper else {}
        return Answer.of(
            {
                "activeTargets": [_active_target(target) for target in active if pool in ("", target.scrape_pool)],
                "droppedTargets": [
                    {"discoveredLabels": target.discovered_labels.as_dict(), "scrapePool": target.scrape_pool}
                    for target in dropped
                    if pool in ("", target.scrape_pool)
                ],
                "droppedTargetCounts": counts if with_dropped else None,
            }
        )

    async def scrape_pools(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/scrape_pools."""
        return Answer.of({"scrapePools": self._targets.scrape_pools() if self._targets else []})

    async def metadata(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/metadata: by `metric`, at most `limit` metrics with `limit_per_metric` entries each."""
        limit = _number(params, "limit")
        per_metric = _number(params, "limit_per_metric")
        metric = params.get("metric")
        found = self._targets.metadata() if self._targets else {}
        names = sorted(name for name in found if metric in ("", name))
        names = names[: limit if limit is not None and limit >= 0 else None]
        most = per_metric if per_metric is not None and per_metric > 0 else None
        return Answer.of(
            {
                name: [{"type": entry.type, "help": entry.help, "unit": entry.unit} for entry in found[name][:most]]
                for name in names
            }
        )


def _active_target(target: ActiveTarget) -> dict[str, Any]:
    return {
        "discoveredLabels": target.discovered_labels.as_dict(),
        "labels": target.labels.as_dict(),
        "scrapePool": target.scrape_pool,
        "scrapeUrl": target.scrape_url,
        "globalUrl": _global_url(target.scrape_url),
        "lastError": target.last_error,
        "lastScrape": _NEVER if target.last_scrape_ms is None else rfc3339(target.last_scrape_ms),
        "lastScrapeDuration": target.last_scrape_duration_s,
        "health": target.health,
        "scrapeInterval": format_duration(target.scrape_interval_ms),
        "scrapeTimeout": format_duration(target.scrape_timeout_ms),
    }


def rfc3339(time_ms: int) -> str:
    """A time as Go's RFC3339Nano has it: a fraction only where there is one, without trailing zeros."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{time_ms % 1000:03d}".rstrip("0").rstrip(".")
    return f"{moment}{fraction}Z"


def _global_url(scrape_url: str) -> str:
    """The address as other hosts reach it: this host's name in place of a loopback address."""
    url = URL(scrape_url)
    return str(url.with_host(socket.gethostname())) if url.host in _LOCAL_HOSTS else scrape_url


def _number(params: Params, name: str) -> int | None:
    text = params.get(name)
    if not text:
        return None
    number = integer(text)
    if number is None:
        raise BadDataError(f"{name} must be a number")
    return number
