"""The commands of a script, read from its text without running anything.

    load 5m                                     samples at 0, 5m, 10m, ...
      http_requests_total{path="/"} 0+10x5
    eval instant at 10m http_requests_total     one query and what it must answer
      http_requests_total{path="/"} 20
    eval range from 0 to 10m step 5m sum(x)
      {} 1 2 3
    clear                                       an empty store

A command's block is the lines after it up to a blank line or the next command; lines that start with `#` are
comments. The language is that of Prometheus's promqltest package; its README describes it.
"""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from common.durations import DurationError, parse_duration
from common.errors import FleetwatchError
from common.matchers import MatcherError, compile_regex
from promql.testing.notation import START_TIMESTAMPS, NotationError, Point, Series, parse_series, unquote

_LOAD = re.compile(r"load(?P<with_nhcb>_with_nhcb)?\s+(?P<interval>\S+)")
_INSTANT = re.compile(r"eval(?:_(?P<mode>fail|warn|info|ordered))?\s+instant\s+at\s+(?P<at>\S+)\s+(?P<expr>.+)")
_RANGE = re.compile(
    r"eval(?:_(?P<mode>fail|warn|info))?\s+range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)"
    r"\s+step\s+(?P<step>\S+)\s+(?P<expr>.+)"
)
_COMMAND = re.compile(r"(?:clear|load(?:_with_nhcb)?|eval(?:_(?:fail|warn|info|ordered))?)(?!\S)")
_EXPECT = re.compile(
    r"expect\s+(?P<type>ordered|fail|warn|no_warn|info|no_info)(?:\s+(?P<kind>msg|regex):\s*(?P<text>.+))?"
)
_EXPECT_RANGE_VECTOR = re.compile(
    r"expect\s+range\s+vector\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+)"
)
_EXPECT_STRING = re.compile(r"expect\s+string\s+(?P<text>.+)")
_EXPECTED_FAIL = re.compile(r"expected_fail_(?P<kind>message|regexp)\s+(?P<text>.+)")


class ScriptError(FleetwatchError):
    """A script that cannot be read; the message starts with the number of the line."""


class MatchKind(enum.Enum):
    """How an expected message is compared."""

    ANY = "any"
    EXACT = "msg"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class ExpectedMessage:
    """What an error or annotation must say."""

    kind: MatchKind = MatchKind.ANY
    text: str = ""

    def matches(self, message: str) -> bool:
        """Whether a message is as expected; a regular expression may match anywhere in it."""
        match self.kind:
            case MatchKind.ANY:
                return True
            case MatchKind.EXACT:
                return message == self.text
            case MatchKind.REGEX:
                return compile_regex(self.text).search(message) is not None

    def __str__(self) -> str:
        return "any message" if self.kind is MatchKind.ANY else f"{self.kind.value}: {self.text}"


@dataclass(frozen=True, slots=True)
class Grid:
    """Evenly spaced times, both ends included."""

    start_ms: int
    end_ms: int
    step_ms: int

    def samples(self, points: list[Point]) -> list[tuple[int, float]]:
        """(milliseconds, value) of the points that there are, the first at the start."""
        return [(self.start_ms + i * self.step_ms, point) for i, point in enumerate(points) if point is not None]


@dataclass(slots=True)
class Expectation:
    """What a query must answer.

    At most one of `series` (for vectors and matrices), `scalar` and `string` is set; none means an empty vector or
    matrix. `range_vector` is the grid of the points of `series` where an instant query answers a range vector.
    """

    series: list[Series] = field(default_factory=list)
    scalar: float | None = None
    string: str | None = None
    range_vector: Grid | None = None
    ordered: bool = False
    fail: ExpectedMessage | None = None
    warnings: list[ExpectedMessage] = field(default_factory=list)
    infos: list[ExpectedMessage] = field(default_factory=list)
    no_warnings: bool = False
    no_infos: bool = False


@dataclass(frozen=True, slots=True)
class Clear:
    """Empty the store."""


@dataclass(frozen=True, slots=True)
class Load:
    """Append samples; point number i of each series is at i * interval_ms."""

    interval_ms: int
    series: list[Series]
    with_nhcb: bool = False


@dataclass(frozen=True, slots=True)
class Eval:
    """Ask one query: at one time (milliseconds) or over a grid."""

    line: int
    expr: str
    when: int | Grid
    expect: Expectation

    def __str__(self) -> str:
        if isinstance(self.when, Grid):
            return f"range query {self.expr}"
        return f"instant query {self.expr}"


Command = Clear | Load | Eval


def parse_script(text: str) -> list[Command]:
    """The commands of a script in order. Raises ScriptError."""
    return [_parse_command(lines) for lines in _blocks(text)]


Line = tuple[int, str]


def _blocks(text: str) -> Iterator[list[Line]]:
    """Each command line with the lines of its block: line numbers from 1, text without the indentation."""
    block: list[Line] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("#"):
            continue
        if block and (not line or _COMMAND.match(raw)):
            yield block
            block = []
        if line:
            block.append((number, line))
    if block:
        yield block


def _parse_command(block: list[Line]) -> Command:
    number, head = block[0]
    try:
        if head == "clear" and len(block) == 1:
            return Clear()
        if match := _LOAD.fullmatch(head):
            return _parse_load(match, block[1:])
        if match := _INSTANT.fullmatch(head):
            return _parse_eval(number, match, parse_duration(match["at"]), block[1:])
        if match := _RANGE.fullmatch(head):
            return _parse_eval(number, match, _parse_grid(match), block[1:])
    except DurationError as error:
        raise ScriptError(f"{number}: {error}") from error
    raise ScriptError(
        f"{number}: {head!r} is no command: write `load <interval>`, `clear`, `eval instant at <time> <query>` or "
        "`eval range from <start> to <end> step <step> <query>`"
    )


def _parse_load(match: re.Match[str], lines: list[Line]) -> Load:
    loaded = [_parse_series(line) for line in lines]
    # Start timestamps without a series are those of all series of the block.
    if any(series.unsupported is not None and not series.labels for series in loaded):
        loaded = [replace(series, unsupported=START_TIMESTAMPS) for series in loaded]
    return Load(parse_duration(match["interval"]), loaded, bool(match["with_nhcb"]))


def _parse_series(line: Line) -> Series:
    number, text = line
    try:
        return parse_series(text)
    except NotationError as error:
        raise ScriptError(f"{number}: {error}") from error


def _parse_grid(match: re.Match[str]) -> Grid:
    grid = Grid(parse_duration(match["start"]), parse_duration(match["end"]), parse_duration(match["step"]))
    if grid.end_ms < grid.start_ms or grid.step_ms == 0:
        raise DurationError(f"a range needs start <= end and a step above 0, got {match[0]!r}")
    return grid


def _parse_eval(number: int, match: re.Match[str], when: int | Grid, lines: list[Line]) -> Eval:
    expect = Expectation()
    match match["mode"]:
        case "fail":
            expect.fail = ExpectedMessage()
        case "warn":
            expect.warnings.append(ExpectedMessage())
        case "info":
            expect.infos.append(ExpectedMessage())
        case "ordered":
            expect.ordered = True
    for line in lines:
        _parse_expectation(line, expect)
    _check(number, when, expect)
    return Eval(number, match["expr"], when, expect)


def _parse_expectation(line: Line, expect: Expectation) -> None:
    """Add what one line of an eval's block says to its expectation."""
    number, text = line
    try:
        if match := _EXPECT.fullmatch(text):
            _add_expect(match, expect)
        elif match := _EXPECT_RANGE_VECTOR.fullmatch(text):
            expect.range_vector = _parse_grid(match)
        elif match := _EXPECT_STRING.fullmatch(text):
            expect.string = unquote(match["text"])
        elif match := _EXPECTED_FAIL.fullmatch(text):
            kind = MatchKind.EXACT if match["kind"] == "message" else MatchKind.REGEX
            expect.fail = _message(kind, match["text"])
        elif text.startswith("expect "):
            raise NotationError(f"{text!r} is not among the forms of expect")
        elif (number_value := _parse_number(text)) is not None:
            expect.scalar = number_value
        else:
            expect.series.append(parse_series(text))
    except (NotationError, DurationError, MatcherError) as error:
        raise ScriptError(f"{number}: {error}") from error


def _add_expect(match: re.Match[str], expect: Expectation) -> None:
    message = _message(MatchKind(match["kind"] or "any"), match["text"] or "")
    match match["type"]:
        case "ordered":
            expect.ordered = True
        case "fail":
            expect.fail = message
        case "warn":
            expect.warnings.append(message)
        case "info":
            expect.infos.append(message)
        case "no_warn":
            expect.no_warnings = True
        case "no_info":
            expect.no_infos = True


def _message(kind: MatchKind, text: str) -> ExpectedMessage:
    if kind is MatchKind.REGEX:
        compile_regex(text)
    return ExpectedMessage(kind, text)


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _check(number: int, when: int | Grid, expect: Expectation) -> None:
    """Refuse expectations that contradict each other or that no answer could fulfil."""
    if (expect.no_warnings and expect.warnings) or (expect.no_infos and expect.infos):
        raise ScriptError(f"{number}: an annotation is both expected and forbidden")
    if sum([bool(expect.series), expect.scalar is not None, expect.string is not None]) > 1:
        raise ScriptError(f"{number}: expects more than one of series, a number and a string")
    if isinstance(when, Grid):
        if expect.ordered or expect.scalar is not None or expect.string is not None:
            raise ScriptError(f"{number}: a range query answers a matrix, in the order of its labels")
    elif expect.range_vector is None and any(len(series.points) > 1 for series in expect.series):
        raise ScriptError(
            f"{number}: an instant query answers one point for each series, except after "
            "`expect range vector from <start> to <end> step <step>`"
        )
    if len({series.labels for series in expect.series}) < len(expect.series):
        raise ScriptError(f"{number}: a series is expected twice")
