"""The queue of bodies to read: one at a time, known targets first, and nothing is lost where a scrape is cancelled."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from scraper.read_queue import ReadQueue
from tests.scraper.loops import scraping
from tests.scraper.targets import STALE, eventually


@pytest_asyncio.fixture
async def queue() -> AsyncIterator[ReadQueue]:
    queue = ReadQueue()
    yield queue
    await queue.close()


class Work:
    """Pieces of work that begin when `gate` is open, and note their order."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.gate = threading.Event()
        self.begun = threading.Event()

    def piece(self, name: str) -> Callable[[], str]:
        def work() -> str:
            self.begun.set()
            self.gate.wait(5)
            self.done.append(name)
            return name

        return work


async def begin(queue: ReadQueue, work: Work, *names: str) -> list[asyncio.Task[str]]:
    """Have one task wait for each; those named `new...` are scraped for the first time."""
    tasks = [asyncio.create_task(queue.run(work.piece(name), is_first=name.startswith("new"))) for name in names]
    await asyncio.to_thread(work.begun.wait, 5)
    return tasks


async def test_known_targets_go_first(queue: ReadQueue) -> None:
    work = Work()
    tasks = await begin(queue, work, "new1", "new2", "new3", "known1", "known2")
    work.gate.set()
    assert await asyncio.gather(*tasks) == ["new1", "new2", "new3", "known1", "known2"]
    assert work.done == ["new1", "known1", "known2", "new2", "new3"]


async def test_a_failure_is_that_of_its_own_target(queue: ReadQueue) -> None:
    def fail() -> None:
        raise ValueError("broken")

    failing, fine = queue.run(fail, is_first=False), queue.run(lambda: 7, is_first=False)
    found = await asyncio.gather(failing, fine, return_exceptions=True)
    assert isinstance(found[0], ValueError)
    assert found[1] == 7


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_who_is_cancelled_holds_up_nobody(queue: ReadQueue, cancelled: int) -> None:
    work = Work()
    tasks = await begin(queue, work, "one", "two", "three")
    tasks[cancelled].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks.pop(cancelled)
    work.gate.set()
    await asyncio.gather(*tasks)
    # What had begun goes on.
    assert work.done == (["one", "two", "three"] if cancelled == 0 else ["one", "three"])


async def test_who_is_cancelled_at_its_turn_passes_it_on(queue: ReadQueue) -> None:
    work = Work()
    first, second, third = await begin(queue, work, "one", "two", "three")
    first.add_done_callback(lambda _: second.cancel())
    work.gate.set()
    assert await third == "three"
    assert work.done in (["one", "three"], ["one", "two", "three"])


async def test_closing_waits_for_what_has_begun() -> None:
    queue, work = ReadQueue(), Work()
    (task,) = await begin(queue, work, "one")
    task.cancel()
    asyncio.get_running_loop().call_later(0.02, work.gate.set)
    await queue.close()
    assert work.done == ["one"]


async def test_a_body_that_is_read_in_the_thread_is_like_any_other() -> None:
    lines = [f'm{{number="{number}"}} {number}\n' for number in range(2_000)]
    async with scraping() as target:
        await target.scrape(1_000_000, "".join(lines))
        await target.scrape(1_001_000, "".join(lines[1:]))
        assert target.samples()['m{number="0"}'] == [(1_000_000, 0.0), (1_001_000, STALE)]
        assert target.samples()['m{number="1"}'] == [(1_000_000, 1.0), (1_001_000, 1.0)]
        await target.scrape(1_002_000, "".join([*lines[:1_500], "m{ 7\n"]))
        assert target.loop.state.last_error.startswith("line 1501, column 4: ")
        assert target.samples()['m{number="1"}'][-1] == (1_002_000, STALE)
        assert target.report("up")[-1] == (1_002_000, 0.0)
        assert target.report("scrape_samples_scraped")[-1] == (1_002_000, 1_500.0)


def reading() -> bool:
    return any(thread.name.startswith("read bodies") for thread in threading.enumerate())


async def test_a_loop_that_is_aborted_while_its_body_is_read() -> None:
    async with scraping() as target:
        target.exposed.body = "".join(f"m{number} 1\n" for number in range(20_000))
        scrape = asyncio.create_task(target.loop.scrape(1_000_000))
        await eventually(reading)
        scrape.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scrape
    # What was being read is done, and the store, which is closed now, was there for it.
    assert not reading()
