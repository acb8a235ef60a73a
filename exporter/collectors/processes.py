"""How many processes and threads there are, by state, and may be (proc_pid_stat(5))."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from exporter.roots import Roots, read_text
from exposition.writer import Family, label_text

_Stat = tuple[str, int]
"""A task's state, and the number of threads of its process."""


class ProcessesCollector:
    """`node_processes_*`."""

    def __init__(self, roots: Roots) -> None:
        self._procfs = roots.procfs

    def collect(self) -> Iterator[Family]:
        """See registry.Collector."""
        max_threads = int(read_text(self._procfs / "sys/kernel/threads-max"))
        max_processes = int(read_text(self._procfs / "sys/kernel/pid_max"))
        threads = 0
        states: Counter[str] = Counter()
        thread_states: Counter[str] = Counter()
        for process in _tasks(self._procfs):
            stat = _stat(process)
            if stat is None:
                continue
            state, process_threads = stat
            states[state] += 1
            threads += process_threads
            thread_states.update(_thread_states(process, state, process_threads))
        yield Family.single("node_processes_threads", "gauge", "Allocated threads in system", threads)
        yield Family.single("node_processes_max_threads", "gauge", "Limit of threads in the system", max_threads)
        by_state = Family("node_processes_state", "gauge", "Number of processes in each state.")
        for state, count in states.items():
            by_state.add(count, label_text(state=state))
        yield by_state
        by_thread_state = Family("node_processes_threads_state", "gauge", "Number of threads in each state.")
        for state, count in thread_states.items():
            by_thread_state.add(count, label_text(thread_state=state))
        yield by_thread_state
        yield Family.single("node_processes_pids", "gauge", "Number of PIDs", states.total())
        yield Family.single("node_processes_max_processes", "gauge", "Number of max PIDs limit", max_processes)


def _tasks(directory: Path) -> Iterator[Path]:
    """The directories of tasks, which are named by their numbers; none where the process has just ended."""
    try:
        yield from (entry for entry in directory.iterdir() if entry.name.isdecimal())
    except (FileNotFoundError, ProcessLookupError):
        return


def _stat(task: Path) -> _Stat | None:
    """Nothing where the task has ended since it was listed."""
    try:
        text = read_text(task / "stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command before the last parenthesis may hold blanks and parentheses itself.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[17])


def _thread_states(process: Path, state: str, threads: int) -> Iterator[str]:
    yield state
    if threads > 1:
        for thread in _tasks(process / "task"):
            if thread.name != process.name and (stat := _stat(thread)):
                yield stat[0]
