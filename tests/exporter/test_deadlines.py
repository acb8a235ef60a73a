"""Jobs that hang cost themselves, once."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from exporter.deadlines import Deadlines

LIMIT_S = 0.05


class Blocking:
    """A job that hangs until it is released."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.runs = 0
        self.thread: threading.Thread | None = None

    def __call__(self) -> str:
        self.runs += 1
        self.thread = threading.current_thread()
        self.release.wait()
        return "late"


@pytest.fixture
def hung() -> Iterator[Blocking]:
    job = Blocking()
    yield job
    job.release.set()


@pytest.fixture
def deadlines(hung: Blocking) -> Iterator[Deadlines[str]]:
    deadlines = Deadlines[str](LIMIT_S, "test jobs")
    yield deadlines
    deadlines.close()
    hung.release.set()
    for thread in threading.enumerate():
        if thread.name == "test jobs":
            thread.join(10)


def threads() -> int:
    return sum(thread.name == "test jobs" for thread in threading.enumerate())


def saying(text: str) -> Callable[[], str]:
    return lambda: text


def test_all_results_come_from_one_thread_that_is_kept(deadlines: Deadlines[str]) -> None:
    names = [f"job {number}" for number in range(5)]

    def job() -> str:
        return threading.current_thread().name

    first = deadlines.run(dict.fromkeys(names, job))
    second = deadlines.run(dict.fromkeys(names, job))

    assert list(first) == names
    assert set(first.values()) == set(second.values()) == {"test jobs"}
    assert threads() == 1


def test_a_job_that_hangs_is_left_out_and_the_rest_goes_on(deadlines: Deadlines[str], hung: Blocking) -> None:
    results = deadlines.run({"a": saying("1"), "hung": hung, "b": saying("2")})

    assert results == {"a": "1", "b": "2"}
    assert deadlines.stuck == {"hung"}


def test_a_job_that_hangs_holds_one_thread_over_many_runs(deadlines: Deadlines[str], hung: Blocking) -> None:
    for _ in range(100):
        assert deadlines.run({"hung": hung, "b": saying("2")}) == {"b": "2"}

    assert hung.runs == 1
    assert threads() == 2


def test_a_job_that_returns_late_is_run_again_and_its_thread_ends(deadlines: Deadlines[str], hung: Blocking) -> None:
    deadlines.run({"hung": hung})
    first = hung.thread
    assert first is not None

    hung.release.set()
    first.join(10)

    assert not first.is_alive()
    assert deadlines.stuck == frozenset()
    assert deadlines.run({"hung": hung}) == {"hung": "late"}


def test_many_jobs_may_hang_at_once(deadlines: Deadlines[str], hung: Blocking) -> None:
    jobs: dict[str, Callable[[], str]] = {"a": hung, "b": hung, "c": saying("3"), "d": hung}

    assert deadlines.run(jobs) == {"c": "3"}
    assert deadlines.stuck == {"a", "b", "d"}
    assert deadlines.run(jobs) == {"c": "3"}


def test_jobs_that_hang_together_share_the_patience(hung: Blocking) -> None:
    deadlines = Deadlines[str](0.2, "test jobs", halving=True)
    jobs: dict[str, Callable[[], str]] = {f"hung {number}": hung for number in range(6)} | {"well": saying("here")}
    start = time.monotonic()
    results = deadlines.run(jobs)
    took_s = time.monotonic() - start
    deadlines.close()

    assert results == {"well": "here"}
    assert len(deadlines.stuck) == 6
    assert took_s < 6 * 0.2
