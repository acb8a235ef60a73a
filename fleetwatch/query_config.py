"""`query`: how many queries run at once, and what one may take. Names and defaults are those of Prometheus's flags."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import msgspec

from common.durations import DurationError, parse_duration
from common.yamlfile import Duration, Problem
from fleetwatch.errors import StartError
from scraper.config import ByteSize


class QueryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`query`. Sizes of 0 mean no limit; a cache of 0 is none."""

    max_concurrency: int = 4
    """Fewer than in Prometheus: they share the process with the scrapes. Others wait, for `timeout` at most."""
    timeout: Duration = Duration(2 * 60 * 1000)
    max_samples: int = 50_000_000
    lookback_delta: Duration = Duration(5 * 60 * 1000)
    max_memory: ByteSize = ByteSize(1 << 30)
    max_total_memory: ByteSize = ByteSize(2 << 30)
    max_response_size: ByteSize = ByteSize(1 << 30)
    cache: ByteSize = ByteSize(64 << 20)

    def problems(self) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        for key in ("max_concurrency", "timeout", "max_samples", "lookback_delta"):
            if getattr(self, key) <= 0:
                yield Problem(f"query.{key}", "must be more than 0")
        if 0 < self.max_total_memory < self.max_memory:
            yield Problem("query.max_total_memory", "must not be less than `max_memory`")


@dataclass(frozen=True, slots=True)
class QueryFlags:
    """Prometheus's `--query.*` flags; each that is given overrides the key of its name. Durations are text."""

    timeout: str | None = None
    max_concurrency: int | None = None
    max_samples: int | None = None
    lookback_delta: str | None = None

    def applied_to(self, config: QueryConfig) -> QueryConfig:
        """The section with the flags in the place of its keys. Raises StartError."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        for key in ("timeout", "lookback_delta"):
            if key in given:
                try:
                    given[key] = Duration(parse_duration(given[key]))
                except DurationError as error:
                    raise StartError(f"--query.{key.replace('_', '-')}: {error}") from error
        changed = msgspec.structs.replace(config, **given)
        for problem in changed.problems():
            raise StartError(f"--{problem.key_path.replace('_', '-')} {problem.message}")
        return changed
