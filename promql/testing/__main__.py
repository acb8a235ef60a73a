"""The command `python -m promql.testing`: runs scripts, prints what passed and what did not."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from promql.testing.runner import Failure, Report, run_file
from promql.testing.script import ScriptError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scripts named on the command line; the exit status is 1 when any case or script failed."""
    options = _options(arguments)
    succeeded = True
    for path in options.files:
        try:
            report = run_file(path, exact=options.exact, skip_unsupported=options.skip_unsupported)
        except ScriptError as error:
            _print(f"{path}:{error}")
            succeeded = False
            continue
        except OSError as error:
            _print(f"{path}: cannot be read: {error.strerror}")
            succeeded = False
            continue
        for failure in report.failed:
            _print(format_failure(path, failure))
        _print(summary(report))
        succeeded = succeeded and not report.failed
    return 0 if succeeded else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m promql.testing", description="Run PromQL test scripts.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--exact", action="store_true", help="compare numbers to 1e-12 instead of 1e-6")
    parser.add_argument(
        "--skip-unsupported",
        action="store_true",
        help="count cases that need native histograms or start timestamps as skipped instead of failed",
    )
    return parser.parse_args(arguments)


def format_failure(path: Path, failure: Failure) -> str:
    """A failure as lines of text, the first with file, line, query and reason."""
    lines = [f"{path}:{failure.line}: {failure.case}: {failure.reason}"]
    if failure.expected or failure.got:
        lines += ["  expected:", *(f"    {line}" for line in failure.expected)]
        lines += ["  got:", *(f"    {line}" for line in failure.got)]
    return "\n".join(lines)


def summary(report: Report) -> str:
    """One line with the counts of a script."""
    skipped = f", {len(report.skipped)} skipped as unsupported" if report.skipped else ""
    return f"{report.path}: {report.passed} passed, {len(report.failed)} failed{skipped}"


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
