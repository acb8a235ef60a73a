"""A service tells its manager, over a real socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.sd_notify import ServiceManager


@pytest.fixture(params=["file", "abstract"])
def manager_socket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """What systemd listens on, and how it names it."""
    name = str(tmp_path / "notify") if request.param == "file" else f"@fleetwatch-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(10)
        yield listening, name


async def test_ready_alive_and_stopping(manager_socket: tuple[socket.socket, str]) -> None:
    listening, name = manager_socket
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())}
    async with ServiceManager(environment).service():
        told = [await asyncio.to_thread(listening.recv, 100) for _ in range(4)]
    while told[-1] == b"WATCHDOG=1":
        told.append(await asyncio.to_thread(listening.recv, 100))

    assert told[0] == b"READY=1"
    assert set(told[1:-1]) == {b"WATCHDOG=1"}
    assert told[-1] == b"STOPPING=1"


async def test_the_watchdog_of_another_process_is_not_fed(manager_socket: tuple[socket.socket, str]) -> None:
    listening, name = manager_socket
    environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    async with ServiceManager(environment).service():
        await asyncio.sleep(0)

    assert [listening.recv(100), listening.recv(100)] == [b"READY=1", b"STOPPING=1"]


def test_states_go_together(manager_socket: tuple[socket.socket, str]) -> None:
    listening, name = manager_socket
    ServiceManager({"NOTIFY_SOCKET": name}).tell("RELOADING=1", "STATUS=reading the config")

    assert listening.recv(100) == b"RELOADING=1\nSTATUS=reading the config"


async def test_without_a_manager_nothing_is_told() -> None:
    async with ServiceManager({}).service():
        pass


def test_a_manager_that_is_gone_is_survived(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell("READY=1")

    assert [record.message for record in caplog.records] == ["the service manager cannot be told"]
