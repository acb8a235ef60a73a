"""Cancellation: callbacks run once, at once where it is too late, and never after their context."""

import contextvars
import threading

from tsdb.cancellation import Cancellation, current


def test_a_callback_runs_once_when_cancelled() -> None:
    cancellation, calls = Cancellation(), list[str]()
    with cancellation.calling(lambda: calls.append("called")):
        assert calls == []
        cancellation.cancel()
        cancellation.cancel()
        assert calls == ["called"]
    assert cancellation.canceled


def test_a_callback_runs_at_once_if_already_cancelled() -> None:
    cancellation, calls = Cancellation(), list[str]()
    cancellation.cancel()
    with cancellation.calling(lambda: calls.append("called")):
        assert calls == ["called"]
    assert calls == ["called"]


def test_a_callback_does_not_run_after_its_context() -> None:
    cancellation, calls = Cancellation(), list[str]()
    with cancellation.calling(lambda: calls.append("outer")):
        with cancellation.calling(lambda: calls.append("inner")):
            pass
        cancellation.cancel()
    assert calls == ["outer"]


def test_leaving_waits_for_a_callback_that_runs() -> None:
    """What a callback stops must still be there while it stops it."""
    cancellation = Cancellation()
    entered, go_on, ended = threading.Event(), threading.Event(), list[str]()

    def stop() -> None:
        entered.set()
        go_on.wait(10)
        ended.append("callback")

    def work() -> None:
        with cancellation.calling(stop):
            entered.wait(10)
        ended.append("work")

    threads = [threading.Thread(target=target) for target in (work, cancellation.cancel)]
    threads[0].start()
    # The callback is there as soon as the worker waits for it; cancelling before that would run it in the worker.
    threads[1].start()
    entered.wait(10)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert ended == ["callback", "work"]


def test_current_belongs_to_its_context() -> None:
    cancellation = Cancellation()

    def within() -> Cancellation | None:
        current.set(cancellation)
        return current.get()

    assert contextvars.copy_context().run(within) is cancellation
    assert current.get() is None
