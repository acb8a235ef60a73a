"""`fleetwatch exporter`: this host's metrics from a small process; imports neither numpy nor a store."""

import contextlib

import typer
import uvloop
from aiohttp import web

from exporter.app import create_app
from fleetwatch.listen import serve, shown_address, stop_signal


def run_exporter(listen_address: str) -> None:
    """Serve until SIGTERM or SIGINT. Raises StartError."""
    uvloop.run(_run(listen_address))


async def _run(listen_address: str) -> None:
    stop = stop_signal()
    async with contextlib.AsyncExitStack() as stack:
        await serve(stack, web.AppRunner(create_app(), access_log=None), listen_address, "--web.listen-address")
        typer.echo(f"The exporter is ready: http://{shown_address(listen_address)}/metrics")
        await stop.wait()
