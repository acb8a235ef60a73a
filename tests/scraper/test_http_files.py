"""Files that are followed, also where nobody answers for them: a FIFO without a writer hangs like a dead server."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from scraper.errors import RequestError
from scraper.http_config import Authorization
from scraper.http_files import FollowedFiles, SecretFile
from tests.scraper.loops import scraping
from tests.scraper.targets import eventually

T1 = 1_700_000_000_000


def looks() -> int:
    return sum(thread.name == "look at secret files" for thread in threading.enumerate())


async def test_texts_are_those_of_the_moment(tmp_path: Path) -> None:
    files = FollowedFiles({"a": SecretFile(tmp_path, "a"), "b": SecretFile(tmp_path, "b")})
    with pytest.raises(RequestError, match=f"unable to read file {tmp_path}/a: open {tmp_path}/a: no such file"):
        await files.current()
    (tmp_path / "a").write_text("1\n")
    (tmp_path / "b").write_text("2")
    assert await files.current() == files.read() == {"a": "1", "b": "2"}
    (tmp_path / "b").write_text("3")
    assert await files.current() == {"a": "1", "b": "3"}
    assert await FollowedFiles({}).current() == {}


async def test_a_look_that_hangs_is_shared_and_can_be_given_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    files = FollowedFiles({"a": SecretFile(tmp_path, "a")})
    patient = asyncio.create_task(files.current())
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await files.current()
    assert looks() == 1
    (tmp_path / "a").write_text("late")
    assert await patient == {"a": "late"}
    await eventually(lambda: looks() == 0)


async def test_a_file_that_hangs_costs_the_scrapes_that_need_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "secret")
    hanging = Authorization(credentials_file=str(tmp_path / "secret"))
    async with scraping() as good, scraping(authorization=hanging, scrape_interval=100, scrape_timeout=100) as bad:
        waiting = asyncio.create_task(bad.scrape(T1))
        await eventually(lambda: looks() == 1)
        await good.scrape(T1, "a 1\n")
        assert not waiting.done()
        assert good.loop.state.health.value == "up"
        await waiting
        assert bad.loop.state.last_error.endswith('/metrics": context deadline exceeded')
        (tmp_path / "secret").write_text("found")
        await eventually(lambda: looks() == 0)
