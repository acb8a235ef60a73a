"""Starts the writers of tests.tsdb.crash_writer, kills them, and gathers what they said."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.tsdb.crash_writer import Orders, encode


@dataclass(slots=True)
class Said:
    """What is known of a writer that has ended."""

    acknowledged: int = 0
    maintained_ms: int = 0
    came_to_it: bool = False
    error: str | None = None
    status: int = 0


class Writers:
    """Runs writers one after another, and kills them."""

    def __init__(self, under: Sequence[str] = ()) -> None:
        """`under` is a command that runs the command after it, as strace is."""
        self._server = subprocess.Popen(
            [*under, sys.executable, "-m", "tests.tsdb.crash_writer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
        self._read = b""

    def run(self, orders: Orders, kinds: Counter[str], delay_s: float, longest_s: float) -> Said:
        """Kill a writer `delay_s` after it comes to `kill_at`, at the latest `longest_s` after its start.

        `kinds` gets the kinds of statements that the writer is seen to run, where they are new.
        """
        assert self._server.stdin is not None
        self._server.stdin.write(encode(orders))
        said = Said()
        process: int | None = None
        give_up_s = deadline_s = time.monotonic() + 60
        while True:
            line = self._line(deadline_s)
            if line is None:
                if deadline_s == give_up_s:
                    raise TimeoutError("a writer does not start, or does not end, within a minute")
                deadline_s = give_up_s
                _kill(process)
                continue
            kind, _, text = line.partition(" ")
            match kind:
                case "p":
                    process, deadline_s = _descriptor(int(text)), time.monotonic() + longest_s
                case "n":
                    said.came_to_it = True
                    deadline_s = time.monotonic() + delay_s
                case "k":
                    kinds.setdefault(text, 0)
                case "a":
                    said.acknowledged = int(text)
                case "m":
                    said.maintained_ms = int(text)
                case "e":
                    said.error = json.loads(text)
                case "x":
                    if process is not None:
                        os.close(process)
                    said.status = int(text)
                    return said

    def close(self) -> None:
        """End the process that forks them."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def _line(self, deadline_s: float) -> str | None:
        """The next line, or None where the deadline passes first."""
        assert self._server.stdout is not None
        while b"\n" not in self._read:
            if not select.select([self._server.stdout], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
                return None
            more = self._server.stdout.read(65536)
            if not more:
                raise EOFError("the process that forks the writers has ended")
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()


def _descriptor(pid: int) -> int | None:
    """Of a process, so that no other one that gets its number is killed for it; None where it has ended already."""
    with contextlib.suppress(ProcessLookupError):
        return os.pidfd_open(pid)
    return None


def _kill(process: int | None) -> None:
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
