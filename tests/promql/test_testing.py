"""The runner as a whole: it passes what is right and above all fails what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from promql.testing import Report, run_file
from promql.testing.__main__ import main
from promql.testing.notation import (
    NATIVE_HISTOGRAMS,
    START_TIMESTAMPS,
)


def run(directory: Path, text: str, *, exact: bool = False, skip_unsupported: bool = False) -> Report:
    path = directory / "case.test"
    path.write_text(text, encoding="utf-8")
    return run_file(path, exact=exact, skip_unsupported=skip_unsupported)


def test_a_script_is_run_command_by_command(tmp_path: Path) -> None:
    report = run(
        tmp_path,
        """load 1m
  x{n="a"} 1 2
  x{n="b"} 3 stale
eval instant at 1m x
  x{n="a"} 2
load 30s
  y _ 5
eval range from 0 to 1m step 30s y
  y _ 5 5
clear
eval instant at 1m x
""",
    )
    assert (report.passed, report.failed, report.skipped) == (3, [], [])


def test_each_failure_is_told_and_the_rest_still_runs(tmp_path: Path) -> None:
    report = run(
        tmp_path,
        """load 1m
  x{n="a"} 1 2

eval instant at 1m x
  x{n="a"} 7

eval instant at 1m x +

eval instant at 1m x
  expect fail

eval instant at 1m x
  x{n="a"} 2
""",
    )
    assert report.passed == 1
    assert [failure.line for failure in report.failed] == [4, 7, 9]
    wrong, broken, unbroken = report.failed
    assert wrong.case == "instant query x"
    assert (wrong.expected, wrong.got) == (['x{n="a"} 7'], ['x{n="a"} 2'])
    assert (broken.reason, broken.expected) == ("the query failed", ["nothing"])
    assert broken.got[0].startswith("error: ")
    assert unbroken.expected == ["expect fail any message"]


def test_exact_is_stricter(tmp_path: Path) -> None:
    script = "eval instant at 0 1 / 3\n  0.33333333\n"
    assert run(tmp_path, script).failed == []
    assert [failure.reason for failure in run(tmp_path, script, exact=True).failed] == ["another number"]


def test_instant_queries_are_asked_again_as_range_queries(tmp_path: Path) -> None:
    # At 0 both series are there, and without their names they are the same; at 1m one is.
    report = run(
        tmp_path,
        """load 1m
  a 1 stale
  b 2 2
eval instant at 1m {__name__=~"a|b"} * 2
  {} 4
""",
    )
    assert [failure.reason for failure in report.failed] == ["as a range query: the query failed"]


@pytest.mark.parametrize("expression", ["x @ start()", "x @ end()", "sort(x)"])
def test_what_a_range_query_would_answer_otherwise_is_not(tmp_path: Path, expression: str) -> None:
    order = "expect ordered" if expression.startswith("sort") else "expect no_warn"
    report = run(
        tmp_path,
        f"""load 1m
  x{{n="a"}} 5 2 1
  x{{n="b"}} 1 1 5
eval instant at 1m {expression}
  {order}
  x{{n="b"}} 1
  x{{n="a"}} 2
""",
    )
    assert report.failed == []
    assert report.passed == 1


HISTOGRAMS = """load 1m
  h{n="a"} {{schema:0 sum:1 count:1 buckets:[1]}}
  h{n="b"} 5
  other 1
eval instant at 0 h
  h{n="b"} 5
eval instant at 0 h{n="b"}
  h{n="b"} 5
eval instant at 0 sum(h{n=~"a|c"})
  expect no_warn
eval instant at 0 other
  other {{sum:1}}
eval instant at 0 other
  other 1
clear
eval instant at 0 h
"""


def test_cases_with_native_histograms_fail_and_say_so(tmp_path: Path) -> None:
    report = run(tmp_path, HISTOGRAMS)
    assert report.passed == 3
    assert [(failure.line, failure.reason) for failure in report.failed] == [
        (5, NATIVE_HISTOGRAMS),
        (9, NATIVE_HISTOGRAMS),
        (11, NATIVE_HISTOGRAMS),
    ]


def test_cases_with_native_histograms_can_be_counted_apart(tmp_path: Path) -> None:
    report = run(tmp_path, HISTOGRAMS, skip_unsupported=True)
    assert (report.passed, report.failed) == (3, [])
    assert [failure.line for failure in report.skipped] == [5, 9, 11]


def test_an_unsupported_case_that_happens_to_pass_is_not_counted_as_passed(tmp_path: Path) -> None:
    report = run(tmp_path, "load 1m\n  h {{sum:1}}\neval instant at 0 h\n", skip_unsupported=True)
    assert (report.passed, report.failed, len(report.skipped)) == (0, [], 1)


def test_histograms_made_of_classic_ones_are_unsupported_but_not_the_classic_ones(tmp_path: Path) -> None:
    report = run(
        tmp_path,
        """load_with_nhcb 1m
  t_bucket{n="a", le="1"} 1
  t_bucket{n="a", le="+Inf"} 2
  t_count{n="a"} 2
eval instant at 0 t_count
  t_count{n="a"} 2
eval instant at 0 t{n="a"}
""",
    )
    assert report.passed == 1
    assert [(failure.line, failure.reason) for failure in report.failed] == [(7, NATIVE_HISTOGRAMS)]


def test_series_with_start_timestamps_are_unsupported(tmp_path: Path) -> None:
    report = run(
        tmp_path,
        """load 1m
  a@st -1m-1mx1
  a 1 2
  b 3 4
eval instant at 1m a
  a 2
eval instant at 1m b
  b 4
""",
    )
    assert report.passed == 1
    assert [(failure.line, failure.reason) for failure in report.failed] == [(5, START_TIMESTAMPS)]


def test_the_command_prints_a_line_for_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = tmp_path / "good.test", tmp_path / "bad.test"
    good.write_text("eval instant at 0 1\n  1\n", encoding="utf-8")
    bad.write_text("eval instant at 0 1\n  1\n\neval instant at 0 2\n  3\n", encoding="utf-8")
    assert main([str(good)]) == 0
    assert capsys.readouterr().out == f"{good}: 1 passed, 0 failed\n"
    assert main([str(bad), str(good)]) == 1
    assert capsys.readouterr().out == (
        f"{bad}:4: instant query 2: another number\n  expected:\n    3\n  got:\n    2\n"
        f"{bad}: 1 passed, 1 failed\n{good}: 1 passed, 0 failed\n"
    )


def test_the_command_counts_what_it_skips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "h.test"
    script.write_text(HISTOGRAMS, encoding="utf-8")
    assert main([str(script)]) == 1
    assert capsys.readouterr().out.endswith("3 passed, 3 failed\n")
    assert main(["--skip-unsupported", str(script)]) == 0
    assert capsys.readouterr().out == f"{script}: 3 passed, 0 failed, 3 skipped as unsupported\n"


def test_the_command_names_the_line_of_a_broken_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "broken.test"
    script.write_text("clear\nload 5m\n  up{ 1\n", encoding="utf-8")
    assert main([str(script)]) == 1
    assert capsys.readouterr().out.startswith(f"{script}:3: expected label")
    assert main([str(tmp_path / "none.test")]) == 1
    assert capsys.readouterr().out == f"{tmp_path / 'none.test'}: cannot be read: No such file or directory\n"


def test_the_module_is_a_command(tmp_path: Path) -> None:
    script = tmp_path / "one.test"
    script.write_text("eval instant at 0 1\n  1.00000000001\n", encoding="utf-8")
    command = [sys.executable, "-m", "promql.testing", str(script)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert subprocess.run([*command, "--exact"], check=False, capture_output=True).returncode == 1
