"""Telling systemd how a service is doing: ready, stopping, alive (sd_notify(3), sd_watchdog_enabled(3)).

Outside systemd, without $NOTIFY_SOCKET, nothing is sent. The watchdog is fed by the event loop, so that a loop that is
stuck is a service that is restarted.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping

log = logging.getLogger(__name__)


class ServiceManager:
    """The service manager that started this process, if one did. `environment` is as in os.environ."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_s = int(environment.get("WATCHDOG_USEC", "0")) / 1e6 if watched else 0.0

    def tell(self, *states: str) -> None:
        """Send states like `READY=1` or `STATUS=...`; one that cannot be sent is logged, as the service works on."""
        if not self._address:
            return
        # A name that starts with @ is one of Linux's abstract sockets, which have no file.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto("\n".join(states).encode(), address)
        except OSError as error:
            log.warning("the service manager cannot be told", extra={"states": states, "error": str(error)})

    @contextlib.asynccontextmanager
    async def service(self) -> AsyncIterator[None]:
        """Be ready while inside, and alive at half the watchdog's time; stopping at the end."""
        feeding = asyncio.create_task(self._feed_watchdog())
        self.tell("READY=1")
        try:
            yield
        finally:
            self.tell("STOPPING=1")
            feeding.cancel()
            await asyncio.wait([feeding])

    async def _feed_watchdog(self) -> None:
        while self._watchdog_s > 0:
            self.tell("WATCHDOG=1")
            await asyncio.sleep(self._watchdog_s / 2)
