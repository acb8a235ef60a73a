"""Processes that delete and die: `python -m tests.tsdb.delete_crash_writer`.

A line of the input is a directory and a number. A forked process deletes in the store there, cleans and maintains,
and is killed at the SQL statement of that number. The answer is a line: `acknowledged` or `not`, then `killed`, or
`done` where there are not so many statements.
"""

import itertools
import os
import signal
import sys

from common.matchers import Matcher
from tests.tsdb.delete_crash_data import DELETED_END_MS, LEVELS_MS, NOW_MS
from tsdb import schema  # noqa: F401  # takes long to import
from tsdb.embedded import EmbeddedStore


def main() -> None:
    """Answer line by line."""
    for line in sys.stdin:
        directory, number = line.rsplit(maxsplit=1)
        said, saying = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(said)
            _delete(directory, int(number), saying)
            os._exit(0)
        os.close(saying)
        _, status = os.waitpid(process, 0)
        acknowledged = os.read(said, 1) == b"a"
        os.close(said)
        ended = {0: "done", -signal.SIGKILL: "killed"}.get(os.waitstatus_to_exitcode(status), "failed")
        sys.stdout.write(f"{'acknowledged' if acknowledged else 'not'} {ended}\n")
        sys.stdout.flush()


def _delete(directory: str, number: int, saying: int) -> None:
    store = EmbeddedStore(directory, levels_ms=LEVELS_MS, sealing_delay_ms=0)
    count = itertools.count()

    def trace(statement: str) -> None:
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    store._database._connection.set_trace_callback(trace)
    store.delete_series([[Matcher.equal("__name__", "x")]], 0, DELETED_END_MS, NOW_MS)
    os.write(saying, b"a")
    store.clean_tombstones()
    store.maintain(NOW_MS)
    store.maintain(2 * NOW_MS)
    store.close()


if __name__ == "__main__":
    main()
