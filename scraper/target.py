"""From a discovered label set to a target: what is scraped, where, how often, under which labels.

Follows prometheus scrape/target.go: `discovered_labels` are what discovery and the job say, relabelling makes the
final labels of them; labels that begin with `__` steer the scrape and are not on its series.
"""

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from common.durations import DurationError, format_duration, parse_duration
from common.labels import Labels
from scraper.config import ScrapeConfig
from scraper.discovery.model import TargetGroup
from scraper.errors import TargetError
from scraper.relabel import Rule, relabel
from scraper.schedule import slot_ms

PARAM_PREFIX = "__param_"

# What Go's net/url leaves as it is in a path, beyond letters, digits and "-_.~".
_PATH_SAFE = "/$&+,:;=@~"


class Health(enum.Enum):
    """The outcome of the last scrape, by its name in the targets API."""

    UNKNOWN = "unknown"
    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to scrape. Two are equal when they have the same labels and URL.

    `labels` are those of its series (`job`, `instance`, ...).
    """

    labels: Labels
    url: str
    interval_ms: int
    timeout_ms: int
    discovered_labels: Labels = field(compare=False)

    def offset_ms(self, seed: str = "") -> int:
        """When in its interval the target is scraped: 0 <= offset < interval, the same after a restart.

        A hash of labels and URL, so that load is even; `seed` tells apart several processes that scrape the
        same targets. It falls on a slot of the interval (schedule.slot_ms).
        """
        text = "\xff".join((seed, self.url, *(part for pair in self.labels for part in pair)))
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        offset_ms = int.from_bytes(digest, "big") % self.interval_ms
        return offset_ms - offset_ms % slot_ms(self.interval_ms)


@dataclass(slots=True)
class TargetState:
    """What the targets API shows of the last scrape. `last_scrape_ms` is None where there was none yet."""

    health: Health = Health.UNKNOWN
    last_error: str = ""
    last_scrape_ms: int | None = None
    last_scrape_duration_s: float = 0.0


@dataclass(frozen=True, slots=True)
class PopulatedTargets:
    """What the groups of a job come to: targets without repetitions, discovered labels of dropped ones, errors."""

    active: list[Target]
    dropped: list[Labels]
    errors: list[str]


def populate(groups: Sequence[TargetGroup], job: ScrapeConfig, rules: Sequence[Rule]) -> PopulatedTargets:
    """Make targets of target groups; `job` is resolved, `rules` are its compiled `relabel_configs`."""
    active: dict[Target, None] = {}
    dropped: list[Labels] = []
    errors: list[str] = []
    for group in groups:
        for index, target in enumerate(group.targets):
            discovered = discovered_labels(target, group.labels, job)
            try:
                made = make_target(discovered, job, rules)
            except TargetError as error:
                errors.append(f"target {index} of group {group.source}: {error}")
                continue
            if made is None:
                dropped.append(discovered)
            else:
                active.setdefault(made)
    return PopulatedTargets(list(active), dropped, errors)


def discovered_labels(target: Mapping[str, str], group: Mapping[str, str], job: ScrapeConfig) -> Labels:
    """The labels before relabelling: the target's, then the group's, then what the job sets by default."""
    defaults = {
        "job": job.job_name,
        "__scrape_interval__": format_duration(job.scrape_interval),
        "__scrape_timeout__": format_duration(job.scrape_timeout),
        "__metrics_path__": job.metrics_path,
        "__scheme__": job.scheme,
        **{PARAM_PREFIX + name: values[0] for name, values in job.params.items() if values},
    }
    labels = defaults
    for more in (group, target):
        labels = labels | {name: value for name, value in more.items() if value}
    return Labels.of(labels)


def make_target(discovered: Labels, job: ScrapeConfig, rules: Sequence[Rule]) -> Target | None:
    """Relabel and check; None where the target is dropped. Raises TargetError."""
    relabelled = relabel(discovered, rules)
    if relabelled is None:
        return None
    labels = dict(relabelled)
    address = labels.get("__address__", "")
    if not address:
        raise TargetError("has no address: the label __address__ is missing or empty")
    if "/" in address:
        raise TargetError(f"{address!r} is not a host and port")
    interval_ms = _duration(labels, "__scrape_interval__")
    timeout_ms = _duration(labels, "__scrape_timeout__")
    if timeout_ms > interval_ms:
        raise TargetError(
            f"__scrape_timeout__ {format_duration(timeout_ms)} is greater than "
            f"__scrape_interval__ {format_duration(interval_ms)}"
        )
    labels.setdefault("instance", address)
    for name, value in labels.items():
        if not _is_valid_utf8(value):
            raise TargetError(f"the value of the label {name} is not valid UTF-8: {value!r}")
    return Target(
        labels=Labels.of({name: value for name, value in labels.items() if not name.startswith("__")}),
        url=_url(labels, job.params),
        interval_ms=interval_ms,
        timeout_ms=timeout_ms,
        discovered_labels=discovered,
    )


def _duration(labels: Mapping[str, str], name: str) -> int:
    try:
        duration_ms = parse_duration(labels.get(name, ""))
    except DurationError as error:
        raise TargetError(f"{name}: {error}") from error
    if duration_ms == 0:
        raise TargetError(f"{name} cannot be 0")
    return duration_ms


def _url(labels: Mapping[str, str], params: Mapping[str, Sequence[str]]) -> str:
    query = {name: list(values) for name, values in params.items()}
    for label, value in labels.items():
        if label.startswith(PARAM_PREFIX):
            name = label.removeprefix(PARAM_PREFIX)
            query[name] = [value, *query.get(name, [])[1:]]
    path = quote(labels.get("__metrics_path__", ""), safe=_PATH_SAFE)
    if path and not path.startswith("/"):
        path = f"/{path}"
    encoded = urlencode(sorted(query.items()), doseq=True)
    return f"{labels.get('__scheme__', '')}://{labels['__address__']}{path}" + (f"?{encoded}" if encoded else "")


def _is_valid_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
