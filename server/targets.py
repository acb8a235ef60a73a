"""/api/v1/targets/*, /api/v1/scrape_pools, /api/v1/metadata: what the scraper of this process knows.

Beyond Prometheus: /api/v1/fleetwatch/inventory, the targets it ever knew.
"""

import re
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from common.durations import format_duration
from common.labels import Labels
from common.matchers import Matcher, matches_all
from exposition.model import Metadata
from promql.errors import ParseError
from promql.parse import parse_selector
from scraper.inventory import Inventory, InventoryError
from scraper.manager import ActiveTarget
from scraper.relabel import RelabelConfig, compile_rules, relabel
from server.answers import Answer
from server.deps import Dependencies
from server.errors import BadDataError, NotFoundError
from server.params import Params, integer

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time, which Prometheus's clients know
# A URL of one of the hosts that mean this one (prometheus web/api/v1 LocalhostRepresentations): port, and the rest.
_LOCAL_URL = re.compile(r"(\w+://)(?:localhost|127\.0\.0\.1|\[::1\])(?::(\d+))?((?:[/?].*)?)")


class TargetsApi:
    """Targets and their metadata; both are empty in a process without a scraper."""

    def __init__(self, deps: Dependencies) -> None:
        self._targets = deps.targets
        self._external_url = deps.external_url

    async def targets(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/targets: filtered by `state` (active, dropped, any) and `scrapePool`."""
        state = params.get("state").lower()
        pool = params.get("scrapePool")
        scraper = self._targets
        active = scraper.active_targets() if scraper and state in ("", "any", "active") else []
        with_dropped = state in ("", "any", "dropped")
        dropped = scraper.dropped_targets() if scraper and with_dropped else []
        counts = dict(scraper.dropped_counts()) if scraper else {}
        here = request.transport.get_extra_info("sockname") if request.transport else None
        own_port = here[1] if isinstance(here, tuple) else None
        return Answer.of(
            {
                "activeTargets": [
                    _active_target(target, global_url(target.scrape_url, self._external_url, own_port))
                    for target in active
                    if pool in ("", target.scrape_pool)
                ],
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

    async def target_metadata(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/targets/metadata: of one `metric` or all, of targets that fulfil `match_target`.

        Once `limit` entries are found no further target is looked at, so that there may be more of them.
        """
        limit = _number(params, "limit")
        metric = params.get("metric")
        matchers = _target_matchers(params.get("match_target"))
        found: list[dict[str, Any]] = []
        for target in self._targets.active_targets() if self._targets else ():
            if limit is not None and 0 <= limit <= len(found):
                break
            if matches_all(tuple(matchers), target.labels):
                found += _metadata_of(target, metric)
        return Answer.of(found)

    async def relabel_steps(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/targets/relabel_steps: what each rule of a `scrapePool` makes of `labels`, a JSON object.

        Prometheus has it since 3.8. `keep` is false from the rule on that drops the labels.
        """
        for name in ("scrapePool", "labels"):
            if not params.get(name):
                raise BadDataError(f"no {name} parameter provided")
        try:
            labels = Labels.of(msgspec.json.decode(params.get("labels"), type=dict[str, str]))
        except msgspec.MsgspecError as error:
            raise BadDataError(f"error parsing labels: {error}") from None
        pool = params.get("scrapePool")
        configs = self._targets.relabel_configs(pool) if self._targets else None
        if configs is None:
            raise BadDataError(f'error retrieving scrape config: scrape pool "{pool}" not found')
        return Answer.of({"steps": list(_relabel_steps(labels, configs))})

    async def metadata(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/metadata: by `metric`, at most `limit` metrics with `limit_per_metric` entries each."""
        limit = _number(params, "limit")
        per_metric = _number(params, "limit_per_metric")
        metric = params.get("metric")
        found = self._targets.metadata() if self._targets else {}
        names = sorted(name for name in found if metric in ("", name))
        names = names[: limit if limit is not None and limit >= 0 else None]
        most = per_metric if per_metric is not None and per_metric > 0 else None
        return Answer.of({name: [_entry(entry) for entry in found[name][:most]] for name in names})

    async def inventory(self, request: web.Request, params: Params) -> Answer:
        """GET /api/v1/fleetwatch/inventory: every known target, when it was last seen and whether it still is."""
        return Answer.of(
            {
                "targets": [
                    {
                        "job": entry.key.job,
                        "instance": entry.key.instance,
                        "lastSeen": rfc3339(entry.last_seen_ms),
                        "discovered": entry.present,
                    }
                    for entry in self._inventory().entries()
                ]
            }
        )

    async def retire(self, request: web.Request, params: Params) -> Answer:
        """POST /api/v1/fleetwatch/inventory/retire: forget the target of a `job` and an `instance` that is gone."""
        try:
            await self._inventory().retire(params.get("job"), params.get("instance"))
        except InventoryError as error:
            raise BadDataError(str(error)) from None
        return Answer.of(None)

    def _inventory(self) -> Inventory:
        if self._targets is None or self._targets.inventory is None:
            raise NotFoundError("this process keeps no inventory of targets: it is switched on in the config file")
        return self._targets.inventory


def _entry(metadata: Metadata) -> dict[str, str]:
    return {"type": metadata.type, "help": metadata.help, "unit": metadata.unit}


def _target_matchers(selector: str) -> Sequence[Matcher]:
    """The matchers of a `match_target`, which may all match the empty value. Raises BadDataError."""
    if not selector:
        return ()
    try:
        return parse_selector(selector)
    except ParseError as error:
        raise BadDataError.of_parameter("match_target", error) from None


def _metadata_of(target: ActiveTarget, metric: str) -> Iterator[dict[str, Any]]:
    labels = target.labels.as_dict()
    if not metric:
        for name, entry in target.metadata.items():
            yield {"target": labels, "metric": name, **_entry(entry)}
    elif metric in target.metadata:
        yield {"target": labels, **_entry(target.metadata[metric])}


def _relabel_steps(labels: Labels, configs: Sequence[RelabelConfig]) -> Iterator[dict[str, Any]]:
    left: Labels | None = labels
    for config in configs:
        left = relabel(left, compile_rules([config])) if left is not None else None
        rule = {key: value for key, value in msgspec.to_builtins(config).items() if value}
        yield {"rule": rule, "output": left.as_dict() if left is not None else {}, "keep": left is not None}


def _active_target(target: ActiveTarget, global_url: str) -> dict[str, Any]:
    return {
        "discoveredLabels": target.discovered_labels.as_dict(),
        "labels": target.labels.as_dict(),
        "scrapePool": target.scrape_pool,
        "scrapeUrl": target.scrape_url,
        "globalUrl": global_url,
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


def global_url(scrape_url: str, external_url: str, own_port: int | None) -> str:
    """The address as other hosts reach it (prometheus web/api/v1 getGlobalURL).

    A loopback address becomes the host of `external_url`, by default this host's name; where the port is that of this
    very server, `external_url` says all up to the path.
    """
    local = _LOCAL_URL.fullmatch(scrape_url)
    if local is None:
        return scrape_url
    scheme, port, path = local.groups()
    external = urlsplit(external_url or f"http://{socket.gethostname()}:{own_port}")
    if port is not None and port == str(own_port):
        return f"{external.scheme}://{external.netloc}{path}"
    host = f"[{external.hostname}]" if ":" in (external.hostname or "") else external.hostname
    return f"{scheme}{host}{f':{port}' if port else ''}{path}"


def _number(params: Params, name: str) -> int | None:
    text = params.get(name)
    if not text:
        return None
    number = integer(text)
    if number is None:
        raise BadDataError(f"{name} must be a number")
    return number
