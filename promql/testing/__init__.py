"""Prometheus's PromQL test scripts: read, run and reported.

python -m promql.testing [--exact] [--skip-unsupported] FILE...

notation    series lines: labels and points
script      the commands of a script
compare     an answer against an expectation
runner      commands against an engine
"""

from promql.testing.runner import Failure, Report, run_file
from promql.testing.script import ScriptError

__all__ = ["Failure", "Report", "ScriptError", "run_file"]
