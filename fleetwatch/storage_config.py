"""`storage`: where samples and logs are kept, for how long, and within which bounds."""

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from common.durations import DurationError, parse_duration
from common.matchers import Matcher
from common.yamlfile import Duration, Problem
from fleetwatch.config_sections import ExemplarsConfig, TSDBConfig
from fleetwatch.timescale_config import TimescaleConfig, dsn_problems
from scraper.config import ByteSize
from server.errors import BadDataError
from server.selectors import parse_selectors
from tsdb.dsn import is_dsn

_PATH = "storage"


class RetentionClass(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the list in `storage.retention`: how long what matches is kept; without `match`, all the rest."""

    match: str | None = None
    keep: Duration

    def matchers(self) -> Sequence[Matcher]:
        """Of `match`, none where it is not given. Raises BadDataError."""
        return [] if self.match is None else parse_selectors([self.match])[0]


class RollupsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage.rollups`: what is older than `after` is rolled up, and that is kept for `keep`."""

    after: Duration = Duration(7 * 24 * 3600 * 1000)
    keep: Duration = Duration(365 * 24 * 3600 * 1000)

    def problems(self) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        for key in ("after", "keep"):
            if getattr(self, key) <= 0:
                yield Problem(f"{_PATH}.rollups.{key}", "must be longer than 0")


class LimitsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage.limits`: how many series there may be, in all and of one target; 0 means no limit."""

    series: int = 0
    series_per_target: int = 0

    def problems(self) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        for key in ("series", "series_per_target"):
            if getattr(self, key) < 0:
                yield Problem(f"{_PATH}.limits.{key}", "is negative: 0 means no limit")


class DiskConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage.embedded.disk`: from which per cent of its file system the store acts; 0 means never."""

    warn: float = 85
    drop: float = 92
    refuse: float = 97

    def problems(self) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        before = ""
        for key in ("warn", "drop", "refuse"):
            per_cent = getattr(self, key)
            if not 0 <= per_cent <= 100:
                yield Problem(f"{_PATH}.embedded.disk.{key}", "must be from 0 to 100 per cent; 0 switches it off")
            elif per_cent:
                if before and per_cent < getattr(self, before):
                    yield Problem(f"{_PATH}.embedded.disk.{key}", f"must not be less than `{before}`")
                before = key


class EmbeddedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage.embedded`: of the store in a directory."""

    durability: Literal["normal", "full"] = "normal"
    cache: ByteSize = ByteSize(64 * 1024 * 1024)
    disk: DiskConfig = DiskConfig()


class StorageConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`storage`; `path` is a directory, or the DSN of a database."""

    path: str = "data"
    retention: str | tuple[RetentionClass, ...] = "15d"
    retention_size: ByteSize = ByteSize(0)
    rollups: RollupsConfig | None = None
    limits: LimitsConfig = LimitsConfig()
    embedded: EmbeddedConfig = EmbeddedConfig()
    timescaledb: TimescaleConfig = TimescaleConfig()
    exemplars: ExemplarsConfig = ExemplarsConfig()
    # Known to Prometheus, not acted on.
    tsdb: TSDBConfig | None = None

    @property
    def retention_ms(self) -> int:
        """How long what fits no class is kept."""
        return parse_duration(self.retention) if isinstance(self.retention, str) else self.retention[-1].keep

    @property
    def retention_classes(self) -> Sequence[tuple[Sequence[Matcher], int]]:
        """Matchers and how many milliseconds what fulfils them is kept; the first that fits counts."""
        if isinstance(self.retention, str):
            return ()
        return [(one.matchers(), one.keep) for one in self.retention if one.match is not None]

    def problems(self) -> Iterator[Problem]:
        """What is wrong beyond the types of the fields."""
        if is_dsn(self.path):
            yield from dsn_problems(self.path, f"{_PATH}.path")
        yield from _retention_problems(self.retention)
        yield from self.limits.problems()
        yield from self.timescaledb.problems()
        yield from self.embedded.disk.problems()
        if self.rollups is not None:
            yield from self.rollups.problems()
            yield from _rollup_problems(self)


def _rollup_problems(storage: StorageConfig) -> Iterator[Problem]:
    retention = storage.retention
    try:
        keeps_ms = [parse_duration(retention)] if isinstance(retention, str) else [one.keep for one in retention]
    except DurationError:
        return  # that is a problem of `retention`
    if storage.rollups is not None and keeps_ms and storage.rollups.after >= max(keeps_ms):
        message = "must be shorter than the longest retention: samples would go before they are rolled up"
        yield Problem(f"{_PATH}.rollups.after", message)


def _retention_problems(retention: str | tuple[RetentionClass, ...]) -> Iterator[Problem]:
    path = f"{_PATH}.retention"
    if isinstance(retention, str):
        try:
            if parse_duration(retention) <= 0:
                yield Problem(path, "must be longer than 0")
        except DurationError as error:
            yield Problem(path, str(error))
        return
    last = len(retention) - 1
    if last < 0:
        yield Problem(path, "is empty: give a duration, or classes of which the last one has no `match`")
    for index, one in enumerate(retention):
        if one.keep <= 0:
            yield Problem(f"{path}[{index}].keep", "must be longer than 0")
        try:
            one.matchers()
        except BadDataError as error:
            yield Problem(f"{path}[{index}].match", str(error))
        if one.match is None and index < last:
            yield Problem(f"{path}[{index}]", "has no `match`, so that no later class counts: it must be the last")
        if one.match is not None and index == last:
            yield Problem(f"{path}[{index}]", "the last class is for all the rest: it must not have a `match`")
