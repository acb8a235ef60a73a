"""`fleetwatch exporter`: this host's metrics from a small process; imports neither numpy nor a store.

One scrape now and then is not worth the memory of a faster event loop.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

from aiohttp import web

from common.sd_notify import ServiceManager
from exporter.app import create_app
from exporter.settings import ExporterSettings
from fleetwatch.listen import load_web_config, serve, shown_url, stop_signal


def run_exporter(settings: ExporterSettings, directory: Path) -> None:
    """Serve until SIGTERM or SIGINT; paths in the settings start at `directory`. Raises FleetwatchError."""
    asyncio.run(_run(settings, directory))


async def _run(settings: ExporterSettings, directory: Path) -> None:
    stop = stop_signal()
    async with contextlib.AsyncExitStack() as stack:
        web_config = load_web_config(settings.web.config_file, directory)
        runner = web.AppRunner(create_app(settings), access_log=None)
        await serve(stack, runner, settings.web.listen_address, "--web.listen-address", web_config)
        for address in settings.web.listen_address:
            url = shown_url(address, web_config) + settings.web.telemetry_path
            sys.stdout.write(f"The exporter is ready: {url}\n")
        sys.stdout.flush()
        await stack.enter_async_context(ServiceManager().service())
        await stop.wait()
