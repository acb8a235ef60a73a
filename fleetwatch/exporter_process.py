"""`fleetwatch exporter`: this host's metrics from a small process; imports neither numpy nor a store."""

import contextlib
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from exporter.app import create_app
from exporter.settings import ExporterSettings
from fleetwatch.listen import serve, shown_address, stop_signal


def run_exporter(settings: ExporterSettings, directory: Path) -> None:
    """Serve until SIGTERM or SIGINT; paths in the settings start at `directory`. Raises FleetwatchError."""
    uvloop.run(_run(settings, directory))


async def _run(settings: ExporterSettings, directory: Path) -> None:
    stop = stop_signal()
    async with contextlib.AsyncExitStack() as stack:
        runner = web.AppRunner(create_app(settings), access_log=None)
        for address in settings.web.listen_address:
            await serve(stack, runner, address, "--web.listen-address")
            sys.stdout.write(f"The exporter is ready: http://{shown_address(address)}{settings.web.telemetry_path}\n")
            sys.stdout.flush()
        await stop.wait()
