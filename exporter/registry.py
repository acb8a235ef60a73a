"""Runs the collectors: each is timed and has a deadline, and one that fails or hangs costs its own metrics only."""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from exporter.deadlines import Deadlines
from exporter.errors import NoDataError, UnknownCollectorError
from exposition.writer import Family, label_text

log = logging.getLogger(__name__)

DEFAULT_DEADLINE_S = 1.0

_DURATION = "node_scrape_collector_duration_seconds"
_SUCCESS = "node_scrape_collector_success"
_SUFFIXES = {"histogram": ("", "_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


def sample_names(name: str, metric_type: str) -> list[str]:
    """The names that a metric's samples may have."""
    return [name + suffix for suffix in _SUFFIXES.get(metric_type, ("",))]


class Collector(Protocol):
    """One group of metrics. Made once with the roots; `collect` is called for each scrape, never twice at a time."""

    def collect(self) -> Iterable[Family]:
        """Read the host. What was yielded before an error does not count.

        Raises NoDataError where there is nothing to report; OSError, ValueError, LookupError, and RuntimeError as
        psutil's system calls do.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What one run of a collector gave; where it failed `problem` says why."""

    families: list[Family] | None
    duration_s: float
    problem: str = ""
    level: int = logging.ERROR


class Registry:
    """The collectors of one exporter. Not thread-safe.

    `known` are the names of those that are not enabled too; `reserved` are metrics that no collector may give.
    """

    def __init__(
        self,
        collectors: Mapping[str, Collector],
        deadline_s: float = DEFAULT_DEADLINE_S,
        known: Collection[str] = (),
        reserved: Collection[str] = (),
    ) -> None:
        self._collectors = dict(collectors)
        self._known = known
        self._reserved = frozenset((*reserved, _DURATION, _SUCCESS))
        self._labels = {name: label_text(collector=name) for name in collectors}
        self._deadline_s = deadline_s
        self._deadlines = Deadlines[_Outcome](deadline_s, "collectors")
        self._problems: dict[str, str] = {}

    def select(self, only: Collection[str], without: Collection[str]) -> list[str]:
        """The names of the collectors that a request asks for. Raises UnknownCollectorError."""
        for name in only:
            if name not in self._collectors:
                raise UnknownCollectorError(f"{'disabled' if name in self._known else 'missing'} collector: {name}")
        return [name for name in self._collectors if (not only or name in only) and name not in without]

    def collect(self, names: Iterable[str] | None = None) -> Iterator[Family]:
        """Run all collectors, or the named ones. The last two families say how long each took and whether it succeeded.

        A collector over its deadline goes on in the background, and is left out of the next scrapes until it ends.
        """
        duration = Family(_DURATION, "gauge", "node_exporter: Duration of a collector scrape.")
        success = Family(_SUCCESS, "gauge", "node_exporter: Whether a collector succeeded.")
        taken = set(self._reserved)
        selected = list(self._collectors) if names is None else list(names)
        outcomes = self._deadlines.run({name: partial(_run, name, self._collectors[name]) for name in selected})
        for name in selected:
            outcome = _without(taken, outcomes.get(name) or self._over_deadline())
            self._report(name, outcome)
            duration.add(outcome.duration_s, self._labels[name])
            success.add(int(not outcome.problem), self._labels[name])
            yield from outcome.families or []
        yield duration
        yield success

    def close(self) -> None:
        """End the thread that collects."""
        self._deadlines.close()

    def _over_deadline(self) -> _Outcome:
        problem = f"not finished within {self._deadline_s:g} s; it is left out until it is"
        return _Outcome(None, self._deadline_s, problem)

    def _report(self, name: str, outcome: _Outcome) -> None:
        """Log what is new: a problem that lasts is one line and not one for each scrape."""
        if outcome.problem == self._problems.get(name, ""):
            return
        self._problems[name] = outcome.problem
        if outcome.problem:
            log.log(outcome.level, "collector failed", extra={"collector": name, "error": outcome.problem})
        else:
            log.info("collector works again", extra={"collector": name})


def _without(taken: set[str], outcome: _Outcome) -> _Outcome:
    """The outcome without metrics that were given before, which would make the whole body invalid; takes the names."""
    families: list[Family] = []
    twice: list[str] = []
    for family in outcome.families or []:
        if not family.lines:
            continue
        names = sample_names(family.name, family.type)
        if taken.isdisjoint(names):
            families.append(family)
        else:
            twice.append(family.name)
        taken.update(names)
    if twice:
        return replace(
            outcome, families=families, problem=f"{', '.join(sorted(twice))} is a metric of another collector"
        )
    return replace(outcome, families=families)


def _run(name: str, collector: Collector) -> _Outcome:
    start = time.perf_counter()
    families, problem, level = None, "", logging.ERROR
    try:
        families = list(collector.collect())
    except NoDataError as error:
        problem, level = f"no data: {error}", logging.DEBUG
    except (OSError, ValueError, LookupError, RuntimeError) as error:
        problem = f"{type(error).__name__}: {error}"
    except Exception as error:
        # A defect of one collector must not take the host's other metrics away.
        log.exception("collector has a defect", extra={"collector": name})
        problem = f"defect: {type(error).__name__}: {error}"
    return _Outcome(families, time.perf_counter() - start, problem, level)
