"""Runs the commands of a script against an engine over a store in memory.

An eval passes when its answer, annotations and failure are as expected. An instant query is asked a second time as
the middle step of a range query, as Prometheus's own runner does, so that every case tests both ways of evaluation.
A case that needs native histograms or start timestamps, in its data or in its answer, is unsupported: it fails with
that reason, unless the caller wants such cases counted apart.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.labels import METRIC_NAME, Labels
from common.matchers import Matcher, matches_all
from promql.engine import Engine, EngineOptions
from promql.errors import PromQLError
from promql.result import Matrix, Result, Scalar, Value, Vector
from promql.testing.compare import Answer, check_answer, describe_answer, describe_expectation, vector_at
from promql.testing.notation import NATIVE_HISTOGRAMS
from promql.testing.script import Clear, Eval, Grid, Load, parse_script
from tsdb import open_store
from tsdb.model import Frame
from tsdb.store import Store

PROMETHEUS_TOLERANCE = 1e-6
EXACT_TOLERANCE = 1e-12

_ENGINE_OPTIONS = EngineOptions(lookback_ms=300_000, default_step_ms=60_000)
_RANGE_CHECK_MS = 60_000
# These mean something else in a range query.
_QUERY_CONTEXT = re.compile(r"\b(?:start|end|range|step)\(\)")
_HISTOGRAM_SERIES = re.compile(r"(?P<base>.+)_(?:bucket|count|sum)")


@dataclass(frozen=True, slots=True)
class Failure:
    """One case that did not pass: where, which query, why, and both answers as lines of a script."""

    line: int
    case: str
    reason: str
    expected: list[str]
    got: list[str]
    unsupported: bool = False


@dataclass(slots=True)
class Report:
    """What became of the cases of one script. `skipped` are the unsupported ones, where they are counted apart."""

    path: Path
    passed: int = 0
    failed: list[Failure] = field(default_factory=list)
    skipped: list[Failure] = field(default_factory=list)


def run_file(path: Path, *, exact: bool = False, skip_unsupported: bool = False) -> Report:
    """Run a script file. `exact` compares numbers to 1e-12 rather than Prometheus's 1e-6.

    Raises ScriptError when the script cannot be read, OSError when the file cannot.
    """
    commands = parse_script(path.read_text(encoding="utf-8"))
    report = Report(path)
    run = _Run(EXACT_TOLERANCE if exact else PROMETHEUS_TOLERANCE)
    try:
        for command in commands:
            match command:
                case Clear():
                    run.clear()
                case Load():
                    run.load(command)
                case Eval():
                    failure = run.evaluate(command)
                    if failure is None:
                        report.passed += 1
                    elif failure.unsupported and skip_unsupported:
                        report.skipped.append(failure)
                    else:
                        report.failed.append(failure)
    finally:
        run.close()
    return report


class _Samples:
    """A store in memory that knows which of the loaded series it cannot hold, and whether a query wanted one."""

    def __init__(self) -> None:
        self._store: Store = open_store("memory:")
        self._unsupported: dict[Labels, str] = {}
        self.wanted: str | None = None

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Frame]:
        """Queryable's select."""
        for labels, reason in self._unsupported.items():
            if matches_all(tuple(matchers), labels):
                self.wanted = reason
        return self._store.select(matchers, start_ms, end_ms)

    def load(self, load: Load) -> None:
        """Append the samples of a load command."""
        for series in load.series:
            if series.unsupported is not None:
                self._unsupported[series.labels] = series.unsupported
            samples = Grid(0, 0, load.interval_ms).samples(series.points)
            if samples:
                self._store.append_samples(series.labels, samples)
            match = _HISTOGRAM_SERIES.fullmatch(series.labels.metric_name)
            if load.with_nhcb and match:
                native = series.labels.without("le").replace(**{METRIC_NAME: match["base"]})
                self._unsupported[native] = NATIVE_HISTOGRAMS

    def close(self) -> None:
        self._store.close()


class _Run:
    """The state of a script: its store and the engine over it."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._samples = _Samples()
        self._engine = Engine(self._samples, _ENGINE_OPTIONS)

    def clear(self) -> None:
        self.close()
        self._samples = _Samples()
        self._engine = Engine(self._samples, _ENGINE_OPTIONS)

    def load(self, load: Load) -> None:
        self._samples.load(load)

    def close(self) -> None:
        self._samples.close()

    def evaluate(self, case: Eval) -> Failure | None:
        """Run one case: how it failed, if it did. An unsupported case fails whatever the engine answers."""
        self._samples.wanted = next(
            (series.unsupported for series in case.expect.series if series.unsupported is not None), None
        )
        try:
            failure = self._evaluate(case)
        except Exception as error:  # noqa: BLE001 a crash of the engine must not hide the other cases
            failure = _failure(case, "the engine crashed", [f"{type(error).__name__}: {error}"])
        if self._samples.wanted is None:
            return failure
        return Failure(case.line, str(case), self._samples.wanted, [], [], unsupported=True)

    def _evaluate(self, case: Eval) -> Failure | None:
        answer = self._ask(case.expr, case.when)
        if (reason := check_answer(case, answer, self._tolerance)) is not None:
            return _failure(case, reason, describe_answer(answer))
        if isinstance(case.when, Grid) or not isinstance(answer, Result) or not _same_in_range(case, answer):
            return None
        return self._evaluate_in_range(case, case.when, answer)

    def _evaluate_in_range(self, case: Eval, at_ms: int, instant: Result) -> Failure | None:
        answer = self._ask(case.expr, Grid(at_ms - _RANGE_CHECK_MS, at_ms + _RANGE_CHECK_MS, _RANGE_CHECK_MS))
        if isinstance(answer, Result) and isinstance(answer.value, Matrix):
            # The annotations of the other steps are not at stake.
            answer = replace(instant, value=_middle(answer.value, at_ms, instant.value))
        reason = check_answer(case, answer, self._tolerance)
        if reason is None:
            return None
        return _failure(case, f"as a range query: {reason}", describe_answer(answer))

    def _ask(self, expr: str, when: int | Grid) -> Answer:
        try:
            if isinstance(when, Grid):
                return self._engine.range(expr, when.start_ms, when.end_ms, when.step_ms)
            return self._engine.instant(expr, when)
        except PromQLError as error:
            return error


def _failure(case: Eval, reason: str, got: list[str]) -> Failure:
    return Failure(case.line, str(case), reason, describe_expectation(case.expect), got)


def _same_in_range(case: Eval, answer: Result) -> bool:
    """Whether an instant query must answer the same as a step of a range query, in any order."""
    return (
        isinstance(answer.value, Vector | Scalar)
        and not case.expect.ordered
        and _QUERY_CONTEXT.search(case.expr) is None
    )


def _middle(matrix: Matrix, time_ms: int, instant: Value) -> Vector | Scalar:
    """One step of a matrix as the kind of value that an instant query gave."""
    vector = vector_at(matrix, time_ms)
    return Scalar(time_ms, float(vector.values[0])) if isinstance(instant, Scalar) else vector
