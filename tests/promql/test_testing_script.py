"""The commands of scripts: what is read from their text, and what is refused with which line."""

import math

import pytest

from common.labels import METRIC_NAME, Labels
from promql.testing import ScriptError
from promql.testing.notation import (
    START_TIMESTAMPS,
    Series,
)
from promql.testing.script import Clear, Eval, ExpectedMessage, Grid, Load, MatchKind, parse_script


def only_eval(text: str) -> Eval:
    (command,) = parse_script(text)
    assert isinstance(command, Eval)
    return command


def test_commands_and_blocks() -> None:
    load, clear, instant, ranged = parse_script(
        """
# a comment
load 1m30s
  up 1 2

  # indented
clear
eval instant at 1m sum by (job) (up)
  # between
  {job="a"} 1
  {} 2
eval range from 0 to 5m step 30s up
\tup 1 _x2 3
"""
    )
    up = Labels.of({METRIC_NAME: "up"})
    assert load == Load(90_000, [Series(up, [1, 2])])
    assert clear == Clear()
    assert isinstance(instant, Eval)
    assert (instant.line, instant.expr, instant.when) == (8, "sum by (job) (up)", 60_000)
    assert [series.labels for series in instant.expect.series] == [Labels.of(job="a"), Labels()]
    assert isinstance(ranged, Eval)
    assert ranged.when == Grid(0, 300_000, 30_000)
    assert ranged.expect.series == [Series(up, [1, None, None, 3])]


def test_load_with_histograms() -> None:
    (load,) = parse_script('load_with_nhcb 1m\n  x_bucket{le="1"} 1')
    assert isinstance(load, Load)
    assert load.with_nhcb


def test_start_timestamps_without_a_series_are_those_of_the_block() -> None:
    (load,) = parse_script("load 1m\n  @st -1m\n  up 1")
    assert isinstance(load, Load)
    assert [series.unsupported for series in load.series] == [START_TIMESTAMPS] * 2


ANY = ExpectedMessage()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("expect fail", ANY),
        ("expect fail msg: no way", ExpectedMessage(MatchKind.EXACT, "no way")),
        ("expect fail regex: no .*", ExpectedMessage(MatchKind.REGEX, "no .*")),
        ("expect fail regex:no", ExpectedMessage(MatchKind.REGEX, "no")),
    ],
)
def test_expect_fail(line: str, message: ExpectedMessage) -> None:
    assert only_eval(f"eval instant at 0 up\n  {line}").expect.fail == message


def test_expect_annotations() -> None:
    expect = only_eval("eval instant at 0 up\n expect warn\n expect warn msg: a: b\n expect no_info").expect
    assert expect.warnings == [ANY, ExpectedMessage(MatchKind.EXACT, "a: b")]
    assert (expect.infos, expect.no_infos, expect.no_warnings) == ([], True, False)
    expect = only_eval("eval instant at 0 up\n expect info regex: x\n expect no_warn").expect
    assert expect.infos == [ExpectedMessage(MatchKind.REGEX, "x")]
    assert (expect.warnings, expect.no_infos, expect.no_warnings) == ([], False, True)


def test_older_forms() -> None:
    assert only_eval("eval_fail instant at 0 up").expect.fail == ANY
    assert only_eval("eval_fail range from 0 to 1m step 1m up").expect.fail == ANY
    failing = only_eval("eval_fail instant at 0 up\n  expected_fail_message no way")
    assert failing.expect.fail == ExpectedMessage(MatchKind.EXACT, "no way")
    failing = only_eval("eval_fail instant at 0 up\n  expected_fail_regexp no.*")
    assert failing.expect.fail == ExpectedMessage(MatchKind.REGEX, "no.*")
    assert only_eval("eval_warn instant at 0 up").expect.warnings == [ANY]
    assert only_eval("eval_info range from 0 to 1m step 1m up").expect.infos == [ANY]
    assert only_eval("eval_ordered instant at 0 up").expect.ordered


def test_expected_values() -> None:
    assert only_eval("eval instant at 0 1\n  1e3").expect.scalar == 1000
    assert only_eval("eval instant at 0 1\n  -Inf").expect.scalar == -math.inf
    assert only_eval("eval instant at 0 x\n  expect string `a\\b`").expect.string == "a\\b"
    assert only_eval('eval instant at 0 x\n  expect string ""').expect.string == ""
    case = only_eval("eval instant at 1m x[1m]\n  expect range vector from 0 to 1m step 30s\n  x 1 2 3")
    assert case.expect.range_vector == Grid(0, 60_000, 30_000)
    assert only_eval("eval instant at 1m x").expect.series == []
    # A metric may be called expect, where it has braces.
    (series,) = only_eval("eval instant at 1m x\n  expect{} 1").expect.series
    assert series.labels.metric_name == "expect"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("lod 5m", 1, "no command"),
        ("\n\nload", 3, "no command"),
        ("load 5x\n  up 1", 1, "not a valid duration"),
        ("load 5m\n  up 1\n  up{ 1", 3, "expected label"),
        ("eval instant up", 1, "no command"),
        ("eval instant at now up", 1, "not a valid duration"),
        ("eval range from 5m to 1m step 1m up", 1, "start <= end"),
        ("eval range from 0 to 1m step 0 up", 1, "step above 0"),
        ("eval instant at 0 up\n  up 1 2", 1, "one point"),
        ("eval instant at 0 up\n  up 1\n  up 2", 1, "twice"),
        ("eval instant at 0 up\n  up 1\n  2", 1, "more than one"),
        ("eval instant at 0 up\n  expect warn\n  expect no_warn", 1, "both expected and forbidden"),
        ("eval instant at 0 up\n  expect nothing", 2, "forms of expect"),
        ("eval instant at 0 up\n  expect fail regex: (", 2, "invalid regular expression"),
        ("eval instant at 0 up\n  expect string x", 2, "not a quoted string"),
        ("eval range from 0 to 1m step 1m up\n  expect ordered", 1, "range query answers a matrix"),
        ("eval range from 0 to 1m step 1m up\n  1", 1, "range query answers a matrix"),
    ],
)
def test_broken_scripts(text: str, line: int, message: str) -> None:
    with pytest.raises(ScriptError, match=message) as refusal:
        parse_script(text)
    assert str(refusal.value).startswith(f"{line}: ")
